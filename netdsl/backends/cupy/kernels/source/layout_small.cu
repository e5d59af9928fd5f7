// The same as `layout` where one side of the matrices is short, such as the three channels of an image: a thread takes all of
// the short side, so that neighbouring threads read, or write, whole lines of each plane.
//
// Block: THREADS. Grid: the long side of all images.

constexpr int LONG = A_IS_SHORT ? B : A, SHORT = A_IS_SHORT ? A : B;

extern "C" __global__ void __launch_bounds__(THREADS, 1) KERNEL(const I *__restrict__ x, O *__restrict__ y) {
    const long long item = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (item >= (long long)IMAGES * LONG) return;
    const long long n = item / LONG, i = item % LONG;
#pragma unroll
    for (int s = 0; s < SHORT; s++) {
        const long long from = A_IS_SHORT ? s * X_A + i : i * X_A + s, to = A_IS_SHORT ? i * Y_B + s : s * Y_B + i;
        y[n * Y_N + to] = narrow<O>(widen(x[n * X_N + from]) * FACTOR);
    }
}
