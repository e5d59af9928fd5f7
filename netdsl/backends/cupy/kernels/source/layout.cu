// Channels first to channels last and back, with a cast: y[n, b, a] = x[n, a, b] for a matrix A x B of each image. Tiles of
// 32 x 32 go through shared memory, so that both sides are read and written in whole lines.
//
// Block: 32 x 8. Grid: tiles along B (fastest) x tiles along A x images.

constexpr int TILES_A = (A + 31) / 32, TILES_B = (B + 31) / 32;

extern "C" __global__ void __launch_bounds__(256, 1) KERNEL(const I *__restrict__ x, O *__restrict__ y) {
    __shared__ float tile[32][33];
    const int b0 = blockIdx.x % TILES_B * 32, a0 = blockIdx.x / TILES_B % TILES_A * 32;
    const long long n = blockIdx.x / (TILES_B * TILES_A);
    for (int row = threadIdx.y; row < 32; row += 8) {
        const int a = a0 + row, b = b0 + threadIdx.x;
        if (a < A && b < B) tile[row][threadIdx.x] = widen(x[n * X_N + (long long)a * X_A + b]);
    }
    __syncthreads();
    for (int row = threadIdx.y; row < 32; row += 8) {
        const int b = b0 + row, a = a0 + threadIdx.x;
        if (a < A && b < B) y[n * Y_N + (long long)b * Y_B + a] = narrow<O>(tile[threadIdx.x][row] * FACTOR);
    }
}
