// Nearest and bilinear resampling of the rows and columns, both ways; the formulas are those of the layer, in whole numbers,
// so that no position is rounded to its neighbour. Backward gathers: each input adds up the outputs that look at it.
//
// Block: THREADS. Grid: all numbers that are written, channels fastest.

constexpr int VECTORS = C / V, ROWS = BACKWARD ? H : OH, COLUMNS = BACKWARD ? W : OW;

struct Pair {
    int low, high;
    float share;  // of high
};

// Where output i of o looks, in an input of n.
DEVICE Pair neighbours(int i, int n, int o) {
    if (n == o) return {i, i, 0.0f};
    if (!BILINEAR) {
        const int at = (int)((long long)i * n / o);
        return {at, at, 0.0f};
    }
    const long long over = ALIGN ? (long long)i * (n - 1) : (2ll * i + 1) * n - o;
    const long long under = ALIGN ? (o > 1 ? o - 1 : 1) : 2ll * o;
    const long long source = over > 0 ? over : 0;
    const int low = (int)(source / under) < n - 1 ? (int)(source / under) : n - 1;
    const int high = low + 1 < n ? low + 1 : n - 1;
    return {low, high, (float)(source - low * under) / (float)under};
}

DEVICE float share_of(Pair pair, int at) {
    return (pair.low == at ? 1.0f - pair.share : 0.0f) + (pair.high == at ? pair.share : 0.0f);
}

// The first output of o whose neighbours may be at or behind `at`, one too early at worst.
DEVICE int from_where(int at, int n, int o) {
    if (n == o) return at;
    const long long first = ((long long)(at - 1) * o) / n - 2 - o / n;
    if (at <= 1) return 0;
    return first > 0 ? (int)first : 0;
}

DEVICE int to_where(int at, int n, int o) {
    if (n == o) return at + 1;
    if (at >= n - 1) return o;
    const long long last = ((long long)(at + 2) * o) / (n > 1 ? n - 1 : 1) + 2;
    return last < o ? (int)last : o;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) KERNEL(const T *__restrict__ x, const T *plus, T *y) {
    const long long item = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (item >= (long long)N * ROWS * COLUMNS * VECTORS) return;
    const int channel = (int)(item % VECTORS) * V;
    const long long position = item / VECTORS;
    const int column = (int)(position % COLUMNS), row = (int)(position / COLUMNS % ROWS);
    const INDEX n = (INDEX)(position / ((long long)COLUMNS * ROWS));
    const T *image = x + n * X_N + channel;
    float total[V], value[V];
    fill(total, 0.0f);
    if constexpr (!BACKWARD) {
        const Pair down = neighbours(row, H, OH), right = neighbours(column, W, OW);
        load(image + (INDEX)down.low * X_H + (INDEX)right.low * X_W, total);
        if (BILINEAR) {
            float other[V], below[V], beside[V];
            load(image + (INDEX)down.high * X_H + (INDEX)right.low * X_W, other);
            load(image + (INDEX)down.low * X_H + (INDEX)right.high * X_W, beside);
            load(image + (INDEX)down.high * X_H + (INDEX)right.high * X_W, below);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float left = total[v] * (1.0f - down.share) + other[v] * down.share;
                total[v] = left * (1.0f - right.share) + (beside[v] * (1.0f - down.share) + below[v] * down.share) * right.share;
            }
        }
    } else {
        if (HAS_PLUS) load(plus + n * P_N + (INDEX)row * P_H + (INDEX)column * P_W + channel, total);
        const int bottom = to_where(row, H, OH), end = to_where(column, W, OW);
        for (int oy = from_where(row, H, OH); oy < bottom; oy++) {
            const float down = share_of(neighbours(oy, H, OH), row);
            if (down == 0.0f) continue;
            for (int ox = from_where(column, W, OW); ox < end; ox++) {
                const float share = down * share_of(neighbours(ox, W, OW), column);
                if (share == 0.0f) continue;
                load(image + (INDEX)oy * X_H + (INDEX)ox * X_W, value);
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += value[v] * share;
            }
        }
    }
    store(y + n * Y_N + (INDEX)row * Y_H + (INDEX)column * Y_W + channel, total);
}
