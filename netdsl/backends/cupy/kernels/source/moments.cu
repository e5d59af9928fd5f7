// Means and sums of squared distances from them, the first of two stages: for each channel, over a tile of the positions
// of a set (a batch, or one image), by Welford's recurrence, which never subtracts large sums. The lanes of a block are put
// together in order. parts[set, tile, 0, c] is the mean, parts[set, tile, 1, c] the sum of squares.
//
// Block: WIDE vectors of channels x LANES positions. Grid: blocks of channels (fastest) x tiles x sets.

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1) KERNEL(const T *__restrict__ x, float *__restrict__ parts) {
    const int vector = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x, channel = vector * V, lane = threadIdx.y;
    const int rest = blockIdx.x / WIDE_BLOCKS, tile = rest % TILES, set = rest / TILES;
    const int first = tile * SPAN, end = first + SPAN < P ? first + SPAN : P;
    float mean[V], squares[V], count = 0.0f;
    fill(mean, 0.0f);
    fill(squares, 0.0f);
    if (channel < C) {
        const T *from = x + (INDEX)set * X_N + channel;
#pragma unroll 4
        for (int p = first + lane; p < end; p += LANES) {
            float value[V];
            load(from + (INDEX)p * X_W, value);
            count += 1.0f;
            const float share = quotient<true>(1.0f, count);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float difference = value[v] - mean[v];
                mean[v] += difference * share;
                squares[v] += difference * (value[v] - mean[v]);
            }
        }
    }
    __shared__ float means[LANES][WIDE * V + 1], sums[LANES][WIDE * V + 1];
#pragma unroll
    for (int v = 0; v < V; v++) {
        means[lane][threadIdx.x * V + v] = mean[v];
        sums[lane][threadIdx.x * V + v] = squares[v];
    }
    __syncthreads();
    for (int item = lane * WIDE + threadIdx.x; item < WIDE * V; item += WIDE * LANES) {
        const int c = (vector - (int)threadIdx.x) * V + item;
        if (c >= C) continue;
        Moments all = {0.0f, 0.0f, 0.0f};
        for (int other = 0; other < LANES && first + other < end; other++)
            all = together(all, {(float)((end - first - other - 1) / LANES + 1), means[other][item], sums[other][item]});
        float *to = parts + ((long long)set * TILES + tile) * 2 * C + c;
        to[0] = all.mean;
        to[C] = all.squares;
    }
}
