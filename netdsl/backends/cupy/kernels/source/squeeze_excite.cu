// Squeeze and excitation of one image by one block (Hu et al. 2018, section 3): the mean of each channel, two small layers
//   hidden = inner(W1 mean + b1), gate = outer(W2 hidden + b2),
// and, where SCALE, y = after(x gate). The mean comes from x, or from sums that the layer before has left (PARTS of them for
// each image). W1 and W2 both lie as (R, C), so that warps read them along the channels.
//
// Block: THREADS. Grid: images. Shared: C means (gates later), R hidden numbers, and room for the sums.

constexpr int VECTORS = C / V, LANES = VECTORS < THREADS ? THREADS / VECTORS : 1;

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(const T *x, const float *__restrict__ sums, const T *__restrict__ w1, const float *__restrict__ b1,
           const T *__restrict__ w2, const float *__restrict__ b2, T *__restrict__ gate, T *y) {
    __shared__ float mean[C];
    __shared__ float hidden[R];
    __shared__ float room[PARTS > 0 ? 1 : LANES * (LANES > 1 ? C : 1)];
    const int n = blockIdx.x, thread = threadIdx.x;
    if constexpr (PARTS > 0) {
        for (int c = thread; c < C; c += THREADS) {
            float sum = 0.0f;
            for (int part = 0; part < PARTS; part++) sum += sums[((long long)n * PARTS + part) * C + c];
            mean[c] = sum * (1.0f / P);
        }
    } else {
        const T *image = x + (INDEX)n * X_N;
        const int lane = thread / VECTORS;
        for (int vector = LANES > 1 ? thread % VECTORS : thread; vector < VECTORS && lane < LANES;
             vector += LANES > 1 ? VECTORS : THREADS) {
            float total[V];
            fill(total, 0.0f);
#pragma unroll 4
            for (int p = LANES > 1 ? lane : 0; p < P; p += LANES) {
                float value[V];
                load(image + (INDEX)p * X_W + vector * V, value);
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += value[v];
            }
#pragma unroll
            for (int v = 0; v < V; v++) {
                if (LANES > 1)
                    room[lane * C + vector * V + v] = total[v];
                else
                    mean[vector * V + v] = total[v] * (1.0f / P);
            }
        }
        if (LANES > 1) {
            __syncthreads();
            for (int c = thread; c < C; c += THREADS) {
                float sum = 0.0f;
                for (int other = 0; other < LANES; other++) sum += room[other * C + c];
                mean[c] = sum * (1.0f / P);
            }
        }
    }
    __syncthreads();
    for (int r = thread / 32; r < R; r += THREADS / 32) {
        float sum = 0.0f;
        for (int c = thread % 32 * WV; c < C; c += 32 * WV) {
            float weight[WV];
            load(w1 + (long long)r * C + c, weight);
#pragma unroll
            for (int v = 0; v < WV; v++) sum += weight[v] * mean[c + v];
        }
#pragma unroll
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (thread % 32 == 0) hidden[r] = inner(sum + (HAS_B1 ? b1[r] : 0.0f));
    }
    __syncthreads();
    for (int c = thread * WV; c < C; c += THREADS * WV) {
        float sum[WV];
        fill(sum, 0.0f);
#pragma unroll 4
        for (int r = 0; r < R; r++) {
            float weight[WV];
            load(w2 + (long long)r * C + c, weight);
#pragma unroll
            for (int v = 0; v < WV; v++) sum[v] += weight[v] * hidden[r];
        }
#pragma unroll
        for (int v = 0; v < WV; v++) {
            sum[v] = outer(sum[v] + (HAS_B2 ? b2[c + v] : 0.0f));
            mean[c + v] = sum[v];
        }
        if (!SCALE) store(gate + (long long)n * C + c, sum);
    }
    if constexpr (SCALE) {
        __syncthreads();
        // Several vectors are read before any is written: y may lie over x, so that the compiler cannot do it.
        constexpr int AHEAD = 4;
        for (int start = thread; start < P * VECTORS; start += AHEAD * THREADS) {
            float value[AHEAD][V];
#pragma unroll
            for (int u = 0; u < AHEAD; u++) {
                const int item = start + u * THREADS, c = item % VECTORS * V, p = item / VECTORS;
                if (item < P * VECTORS) load(x + (INDEX)n * X_N + (INDEX)p * X_W + c, value[u]);
            }
#pragma unroll
            for (int u = 0; u < AHEAD; u++) {
                const int item = start + u * THREADS, c = item % VECTORS * V, p = item / VECTORS;
                if (item >= P * VECTORS) break;
#pragma unroll
                for (int v = 0; v < V; v++) value[u][v] = after(value[u][v] * mean[c + v]);
                store(y + (INDEX)n * Y_N + (INDEX)p * Y_W + c, value[u]);
            }
        }
    }
}
