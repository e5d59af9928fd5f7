// The gradient of a sliding pool by its input, gathered: each input looks at the windows that hold it. Of a maximum the
// tap that was the largest (PLACES) gets dy, of a mean every position gets dy over the positions that count.
//
// Block: THREADS. Grid: all inputs, channels fastest.

constexpr int VECTORS = C / V;

DEVICE int counted(int at, int f, int n, int before, int after) {
    const int first = INCLUDE_PAD ? -before : 0, end = INCLUDE_PAD ? n + after : n;
    return (at + f < end ? at + f : end) - (at > first ? at : first);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(const T *__restrict__ dy, const unsigned char *__restrict__ places, const T *plus, T *dx) {
    const long long item = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (item >= (long long)N * H * W * VECTORS) return;
    const int channel = (int)(item % VECTORS) * V;
    const long long position = item / VECTORS;
    const int ix = (int)(position % W), iy = (int)(position / W % H);
    const INDEX n = (INDEX)(position / ((long long)W * H));
    float total[V];
    fill(total, 0.0f);
    if (HAS_PLUS) load(plus + n * P_N + (INDEX)iy * P_H + (INDEX)ix * P_W + channel, total);
#pragma unroll(KH <= 7 ? KH : 1)
    for (int ky = 0; ky < KH; ky++) {
        const int down = iy + PH - ky * DH;
        if (down < 0 || down % SH != 0 || down / SH >= OH) continue;
        const int oy = down / SH, rows = MAXIMUM ? 1 : counted(oy * SH - PH, KH, H, PH, AFTER_H);
#pragma unroll(KW <= 7 ? KW : 1)
        for (int kx = 0; kx < KW; kx++) {
            const int right = ix + PW - kx * DW;
            if (right < 0 || right % SW != 0 || right / SW >= OW) continue;
            const int ox = right / SW;
            float value[V];
            load(dy + n * Y_N + (INDEX)oy * Y_H + (INDEX)ox * Y_W + channel, value);
            if (MAXIMUM) {
                int best[V];
                load_bytes(places + (((INDEX)n * OH + oy) * OW + ox) * C + channel, best);
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += best[v] == ky * KW + kx ? value[v] : 0.0f;
            } else {
                const float share = (float)(rows * counted(ox * SW - PW, KW, W, PW, AFTER_W));
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += value[v] / share;
            }
        }
    }
    store(dx + n * X_N + (INDEX)iy * X_H + (INDEX)ix * X_W + channel, total);
}
