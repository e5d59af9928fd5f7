// Pools whose window slides: the largest number or the mean of each window, any padding, stride and (for the largest)
// dilation. A thread makes V channels of TX neighbouring outputs of a row and reads each number that they share once.
// What is padded never wins; a mean is divided by the positions that count: those of the input, or, with INCLUDE_PAD, of the
// padding too, but never those that hang over its end. PLACES notes which tap was the largest, the first of equal ones.
//
// Block: THREADS. Grid: all outputs, channels fastest.

constexpr int VECTORS = C / V, TILES = (OW + TX - 1) / TX, COLUMNS = (TX - 1) * SW + (KW - 1) * DW + 1;

DEVICE int counted(int at, int f, int n, int before, int after) {
    const int first = INCLUDE_PAD ? -before : 0, end = INCLUDE_PAD ? n + after : n;
    return (at + f < end ? at + f : end) - (at > first ? at : first);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(const T *__restrict__ x, T *__restrict__ y, unsigned char *__restrict__ places) {
    const long long item = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (item >= (long long)N * OH * TILES * VECTORS) return;
    const int channel = (int)(item % VECTORS) * V;
    const long long position = item / VECTORS;
    const int ox0 = (int)(position % TILES) * TX, oy = (int)(position / TILES % OH);
    const INDEX n = (INDEX)(position / ((long long)TILES * OH));
    const int iy0 = oy * SH - PH, ix0 = ox0 * SW - PW;
    float total[TX][V];
    int best[TX][V];
#pragma unroll
    for (int tx = 0; tx < TX; tx++) {
        fill(total[tx], MAXIMUM ? -infinity() : 0.0f);
#pragma unroll
        for (int v = 0; v < V; v++) best[tx][v] = -1;
    }
    const T *image = x + n * X_N + channel;
#pragma unroll(KH <= 7 ? KH : 1)
    for (int ky = 0; ky < KH; ky++) {
        const int iy = iy0 + ky * DH;
        if (iy < 0 || iy >= H) continue;
        const T *line = image + (INDEX)iy * X_H;
#pragma unroll(COLUMNS <= 16 ? COLUMNS : 1)
        for (int column = 0; column < COLUMNS; column++) {
            const int ix = ix0 + column;
            if (ix < 0 || ix >= W) continue;
            float value[V];
            load(line + (INDEX)ix * X_W, value);
#pragma unroll
            for (int tx = 0; tx < TX; tx++) {
                const int right = column - tx * SW;
                if (right < 0 || right % DW != 0 || right / DW >= KW) continue;
#pragma unroll
                for (int v = 0; v < V; v++) {
                    if (!MAXIMUM) {
                        total[tx][v] += value[v];
                        continue;
                    }
                    if (PLACES && (best[tx][v] < 0 || value[v] > total[tx][v] || value[v] != value[v]))
                        best[tx][v] = ky * KW + right / DW;
                    total[tx][v] = larger(total[tx][v], value[v]);
                }
            }
        }
    }
    const int rows = MAXIMUM ? 1 : counted(iy0, KH, H, PH, AFTER_H);
#pragma unroll
    for (int tx = 0; tx < TX; tx++) {
        const int ox = ox0 + tx;
        if (ox >= OW) continue;
        const float share = MAXIMUM ? 1.0f : (float)(rows * counted(ox * SW - PW, KW, W, PW, AFTER_W));
#pragma unroll
        for (int v = 0; v < V; v++) total[tx][v] = activate(MAXIMUM ? total[tx][v] : total[tx][v] / share);
        store(y + n * Y_N + (INDEX)oy * Y_H + (INDEX)ox * Y_W + channel, total[tx]);
        if (PLACES) store_bytes(places + (((INDEX)n * OH + oy) * OW + ox) * C + channel, best[tx]);
    }
}
