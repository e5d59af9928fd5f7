// The sum of the parts that `norm_of` leaves, as one float. A sum that is finite stays finite: the largest float.
//
// Block: THREADS. Grid: 1.

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(const double *__restrict__ parts, float *__restrict__ square) {
    __shared__ double room[THREADS];
    double sum = 0.0;
    for (int item = threadIdx.x; item < PARTS; item += THREADS) sum += parts[item];
    room[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    }
    if (threadIdx.x > 0) return;
    const double most = 3.4028234663852886e38;
    const bool finite = room[0] - room[0] == 0.0;
    square[0] = (float)(finite && room[0] > most ? most : room[0]);
}
