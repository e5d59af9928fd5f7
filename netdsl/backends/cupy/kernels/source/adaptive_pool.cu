// Pools to a size that is given: window i of o goes from floor(i n / o) to ceil((i + 1) n / o).
// BACKWARD: dx gathers dy over the positions of each window that holds it (means only).
//
// Block: THREADS. Grid: all numbers that are written, channels fastest.

constexpr int VECTORS = C / V;
constexpr int ROWS = BACKWARD ? H : OH, COLUMNS = BACKWARD ? W : OW;

DEVICE int begin(int i, int n, int o) { return (int)((long long)i * n / o); }
DEVICE int behind(int i, int n, int o) { return (int)(((long long)(i + 1) * n + o - 1) / o); }

extern "C" __global__ void __launch_bounds__(THREADS, 1) KERNEL(const T *__restrict__ x, const T *plus, T *y) {
    const long long item = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (item >= (long long)N * ROWS * COLUMNS * VECTORS) return;
    const int channel = (int)(item % VECTORS) * V;
    const long long position = item / VECTORS;
    const int column = (int)(position % COLUMNS), row = (int)(position / COLUMNS % ROWS);
    const INDEX n = (INDEX)(position / ((long long)COLUMNS * ROWS));
    const T *image = x + n * X_N + channel;
    float total[V], value[V];
    fill(total, MAXIMUM ? -infinity() : 0.0f);
    if constexpr (!BACKWARD) {
        const int top = begin(row, H, OH), bottom = behind(row, H, OH);
        const int left = begin(column, W, OW), right = behind(column, W, OW);
        for (int iy = top; iy < bottom; iy++)
            for (int ix = left; ix < right; ix++) {
                load(image + (INDEX)iy * X_H + (INDEX)ix * X_W, value);
#pragma unroll
                for (int v = 0; v < V; v++) total[v] = MAXIMUM ? larger(total[v], value[v]) : total[v] + value[v];
            }
        const float size = (float)((bottom - top) * (right - left));
#pragma unroll
        for (int v = 0; v < V; v++) total[v] = activate(MAXIMUM ? total[v] : total[v] / size);
        store(y + n * Y_N + (INDEX)row * Y_H + (INDEX)column * Y_W + channel, total);
    } else {
        if (HAS_PLUS) load(plus + n * P_N + (INDEX)row * P_H + (INDEX)column * P_W + channel, total);
        // The first window that may hold a position ends behind it; the last begins at it or in front of it.
        const int oy0 = begin(row, OH, H), oy1 = behind(row, OH, H);
        const int ox0 = begin(column, OW, W), ox1 = behind(column, OW, W);
        for (int oy = oy0; oy < oy1; oy++) {
            const int top = begin(oy, H, OH), bottom = behind(oy, H, OH);
            if (row < top || row >= bottom) continue;
            for (int ox = ox0; ox < ox1; ox++) {
                const int left = begin(ox, W, OW), right = behind(ox, W, OW);
                if (column < left || column >= right) continue;
                load(image + (INDEX)oy * X_H + (INDEX)ox * X_W, value);
                const float size = (float)((bottom - top) * (right - left));
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += value[v] / size;
            }
        }
        store(y + n * Y_N + (INDEX)row * Y_H + (INDEX)column * Y_W + channel, total);
    }
}
