// Softmax and its logarithm along an axis that is not the innermost, over numbers without gaps: number i of a series lies
// at outer OUTER_STEP + i INNER + inner. Neighbouring threads have neighbouring series.
//
// Block: THREADS series. Grid: all series.

extern "C" __global__ void __launch_bounds__(THREADS, 1) KERNEL(const T *x, T *y) {
    const long long series = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (series >= OUTER * INNER) return;
    const long long start = series / INNER * OUTER_STEP + series % INNER;
    float most = -infinity(), sum = 0.0f;
    for (int i = 0; i < LENGTH; i++) most = larger(most, widen(x[start + i * INNER]));
    for (int i = 0; i < LENGTH; i++) sum += power_of_e<FAST>(widen(x[start + i * INNER]) - most);
    const float part = LOGARITHM ? logf(sum) : 1.0f / sum;
    for (int i = 0; i < LENGTH; i++) {
        const float less = widen(x[start + i * INNER]) - most;
        y[start + i * INNER] = narrow<T>(LOGARITHM ? less - part : power_of_e<FAST>(less) * part);
    }
}
