// The sums that the way back through a normalisation needs, the first of two stages, over the tiles of `moments`:
// parts[set, tile, 0, c] = sum of dz, parts[set, tile, 1, c] = sum of dz x^, where x^ = (x - mean) inverse. dz = dy, or, with an
// activation behind, dy times its derivative at z = (x - mean) scale + bias, computed again. With ROWS mean and inverse are
// those of each position (layer norm): stats[p, 0] and stats[p, 1].
//
// Block and grid as in `moments`.

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1)
    KERNEL(const T *__restrict__ x, const T *__restrict__ dy, const float *__restrict__ moments,
           const float *__restrict__ bias, float *__restrict__ parts) {
    const int vector = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x, channel = vector * V, lane = threadIdx.y;
    const int rest = blockIdx.x / WIDE_BLOCKS, tile = rest % TILES, set = rest / TILES;
    const int first = tile * SPAN, end = first + SPAN < P ? first + SPAN : P;
    float plain[V], weighted[V];
    fill(plain, 0.0f);
    fill(weighted, 0.0f);
    if (channel < C) {
        float mean[V], inverse[V], scale[V], start[V];
        if (!ROWS) {
            const float *of = moments + (long long)set * C + channel;
            load(of, mean);
            load(of + (long long)SETS * C, inverse);
            if (ACTIVE) {
                load(of + 2ll * SETS * C, scale);
                fill(start, 0.0f);
                if (HAS_BIAS) load_anywhere(bias + channel, start);
            }
        }
        const T *from = x + (INDEX)set * X_N + channel, *slope = dy + (INDEX)set * Y_N + channel;
#pragma unroll 2
        for (int p = first + lane; p < end; p += LANES) {
            float value[V], back[V];
            load(from + (INDEX)p * X_W, value);
            load(slope + (INDEX)p * Y_W, back);
            if (ROWS) {
                fill(mean, moments[2ll * p]);
                fill(inverse, moments[2ll * p + 1]);
            }
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float distance = value[v] - mean[v];
                if (ACTIVE) {
                    const float z = distance * scale[v] + start[v];
                    back[v] *= derivative(z, activate(z));
                }
                plain[v] += back[v];
                weighted[v] += back[v] * (distance * inverse[v]);
            }
        }
    }
    __shared__ float room[2][LANES][WIDE * V + 1];
#pragma unroll
    for (int v = 0; v < V; v++) {
        room[0][lane][threadIdx.x * V + v] = plain[v];
        room[1][lane][threadIdx.x * V + v] = weighted[v];
    }
    __syncthreads();
    for (int item = lane * WIDE + threadIdx.x; item < 2 * WIDE * V; item += WIDE * LANES) {
        const int which = item / (WIDE * V), at = item % (WIDE * V), c = (vector - (int)threadIdx.x) * V + at;
        if (c >= C) continue;
        float sum = 0.0f;
        for (int other = 0; other < LANES; other++) sum += room[which][other][at];
        parts[(((long long)set * TILES + tile) * 2 + which) * C + c] = sum;
    }
}
