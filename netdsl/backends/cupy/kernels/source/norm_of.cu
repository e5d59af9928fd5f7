// The squares of all gradients, the first of two stages, in double precision: a large but finite gradient is told from one
// that is not. parts[block] is the sum of one block's share.
//
// Block: THREADS. Grid: BLOCKS. `count` numbers.

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(const G *__restrict__ gradients, double *__restrict__ parts, long long count) {
    double sum = 0.0;
    const long long step = (long long)BLOCKS * THREADS;
    const long long whole = count / 4;
#pragma unroll 2
    for (long long item = (long long)blockIdx.x * THREADS + threadIdx.x; item < whole; item += step) {
        float value[4];
        load(gradients + item * 4, value);
#pragma unroll
        for (int v = 0; v < 4; v++) sum += (double)value[v] * (double)value[v];
    }
    const long long last = whole * 4 + (long long)blockIdx.x * THREADS + threadIdx.x;
    if (last < count) sum += (double)widen(gradients[last]) * (double)widen(gradients[last]);
    __shared__ double room[THREADS];
    room[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    }
    if (threadIdx.x == 0) parts[blockIdx.x] = room[0];
}
