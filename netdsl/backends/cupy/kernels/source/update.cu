// One step of an optimiser over flat vectors: gradients of any type, float32 parameters and state, and in the same sweep the
// moving average and the copy of the parameters in the type that they are computed with. Formulas: netdsl/train/optimizers.py.
// Where the gradients were not finite (SKIP) nothing changes.
//
// Block: THREADS. Grid: BLOCKS, which stride over `count` numbers, four to a thread; the last ones one by one.

template <int V>
DEVICE void updated(long long at, float *weights, const G *gradients, float *first, float *second, float *third,
                    float *average, T *copy, const unsigned char *undecayed, const float *scalars) {
    float w[V], g[V], a[V], b[V], c[V], mean[V];
    int kept[V];
    load(weights + at, w);
    load(gradients + at, g);
    if (HAS_FIRST) load(first + at, a);
    if (HAS_SECOND) load(second + at, b);
    if (HAS_THIRD) load(third + at, c);
    if (HAS_AVERAGE) load(average + at, mean);
    if (HAS_UNDECAYED) load_bytes(undecayed + at, kept);
    const float lr = scalars[LR], factor = scalars[FACTOR];
#pragma unroll
    for (int v = 0; v < V; v++) {
        g[v] *= factor;
        if (CLIP_VALUE > 0.0f) g[v] = clamp(g[v], -CLIP_VALUE, CLIP_VALUE);
        const float decay = HAS_UNDECAYED && kept[v] ? 0.0f : DECAY;
        if (KIND != ADAMW) g[v] += decay * w[v];
        if (KIND == SGD) {
            if (HAS_FIRST) {
                a[v] = MOMENTUM * a[v] + g[v];
                g[v] = NESTEROV ? g[v] + MOMENTUM * a[v] : a[v];
            }
            w[v] -= lr * g[v];
        } else if (KIND == RMSPROP) {
            a[v] = ALPHA * a[v] + (1.0f - ALPHA) * (g[v] * g[v]);
            float square = a[v];
            if (HAS_SECOND) {  // centred
                b[v] = ALPHA * b[v] + (1.0f - ALPHA) * g[v];
                square -= b[v] * b[v];
            }
            float step = g[v] / (TENSORFLOW ? sqrtf(square + EPS) : sqrtf(square) + EPS);
            if (TENSORFLOW) step *= lr;
            if (HAS_THIRD) {
                c[v] = MOMENTUM * c[v] + step;
                step = c[v];
            }
            w[v] -= TENSORFLOW ? step : lr * step;
        } else {
            if (KIND == ADAMW) w[v] *= 1.0f - lr * decay;
            a[v] = ALPHA * a[v] + (1.0f - ALPHA) * g[v];
            b[v] = BETA * b[v] + (1.0f - BETA) * (g[v] * g[v]);
            w[v] -= scalars[FIRST] * (a[v] / (sqrtf(b[v]) * scalars[SECOND] + EPS));
        }
        if (HAS_AVERAGE) mean[v] = scalars[KEEP] * mean[v] + (1.0f - scalars[KEEP]) * w[v];
    }
    store(weights + at, w);
    if (HAS_FIRST) store(first + at, a);
    if (HAS_SECOND) store(second + at, b);
    if (HAS_THIRD) store(third + at, c);
    if (HAS_AVERAGE) store(average + at, mean);
    if (HAS_COPY) store(copy + at, w);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(float *__restrict__ weights, const G *__restrict__ gradients, float *__restrict__ first,
           float *__restrict__ second, float *__restrict__ third, float *__restrict__ average, T *__restrict__ copy,
           const unsigned char *__restrict__ undecayed, const float *__restrict__ scalars, long long count) {
    if (HAS_SKIP && scalars[SKIP] != 0.0f) return;
    const long long thread = (long long)blockIdx.x * THREADS + threadIdx.x, whole = count / 4;
    for (long long item = thread; item < whole; item += (long long)BLOCKS * THREADS)
        updated<4>(item * 4, weights, gradients, first, second, third, average, copy, undecayed, scalars);
    if (whole * 4 + thread < count)
        updated<1>(whole * 4 + thread, weights, gradients, first, second, third, average, copy, undecayed, scalars);
}
