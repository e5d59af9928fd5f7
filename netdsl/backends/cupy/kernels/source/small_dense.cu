// A small dense layer of a few vectors, for batches too small to give every image a block of its own:
// y[n, k] = activate(sum over c of w[k, c] mean[n, c] + bias[k]), a warp for each output. The input is a vector, or the sum
// of PARTS partial sums times FACTOR.
//
// Block: 32 x WARPS. Grid: outputs / WARPS (fastest) x images.

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1)
    KERNEL(const I *__restrict__ x, const T *__restrict__ w, const float *__restrict__ bias, O *__restrict__ y) {
    const int k = blockIdx.x % BLOCKS * WARPS + threadIdx.y, n = blockIdx.x / BLOCKS;
    float sum = 0.0f;
    if (k < K)
        for (int c = threadIdx.x * V; c < C; c += 32 * V) {
            float weight[V], value[V];
            load(w + (long long)k * C + c, weight);
            load(x + (long long)n * PARTS * C + c, value);
            for (int part = 1; part < PARTS; part++) {
                float more[V];
                load(x + ((long long)n * PARTS + part) * C + c, more);
#pragma unroll
                for (int v = 0; v < V; v++) value[v] += more[v];
            }
#pragma unroll
            for (int v = 0; v < V; v++) sum += weight[v] * value[v];
        }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x == 0 && k < K) y[(long long)n * K + k] = narrow<O>(activate(sum * FACTOR + (HAS_BIAS ? bias[k] : 0.0f)));
}
