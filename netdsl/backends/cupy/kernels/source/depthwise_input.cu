// The gradient of a depthwise convolution by its input: dx[n, iy, ix, c] = plus + sum over the taps (ky, kx) for which
// iy + PH - ky DH = oy SH, and the like along the row, of dy[n, oy, ox, c] w[ky, kx, c]. Gathered, never scattered: each
// thread makes V channels of SH x (SW TX) neighbouring inputs, beginning at a multiple of the stride, so that which taps
// meet which of them is known to the compiler, and reads each dy that they need once: those from FIRST_Y to LAST_Y rows
// and from FIRST_X to LAST_X columns away from its own.
//
// Block: WIDE vectors of channels x LANES tiles. Grid: blocks of channels (fastest) x blocks of tiles.

constexpr int VECTORS = C / V, ACROSS = SW * TX;
constexpr int TILES_X = (W + ACROSS - 1) / ACROSS, TILES_Y = (H + SH - 1) / SH, TILES = TILES_X * TILES_Y;

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1)
    KERNEL(const T *__restrict__ dy, const T *__restrict__ w, const T *plus, T *dx) {
    const int vector = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x, channel = vector * V;
    const long long number = (long long)(blockIdx.x / WIDE_BLOCKS) * LANES + threadIdx.y;
    if (vector >= VECTORS || number >= (long long)N * TILES) return;
    const INDEX n = (INDEX)(number / TILES);
    const int tile = (int)(number % TILES), by = tile / TILES_X, bx = tile % TILES_X * TX;
    float total[SH][ACROSS][V];
#pragma unroll
    for (int ty = 0; ty < SH; ty++)
#pragma unroll
        for (int tx = 0; tx < ACROSS; tx++) fill(total[ty][tx], 0.0f);
    const T *image = dy + n * Y_N + channel;
#pragma unroll
    for (int row = FIRST_Y; row <= LAST_Y; row++) {
        const int oy = by + row;
        if (oy < 0 || oy >= OH) continue;
        const T *line = image + (INDEX)oy * Y_H;
#pragma unroll
        for (int ty = 0; ty < SH; ty++) {
            const int down = ty + PH - row * SH;  // ky DH
            if (down < 0 || down % DH != 0 || down / DH >= KH) continue;
            float taps[KW][V];
#pragma unroll
            for (int kx = 0; kx < KW; kx++) load(w + (down / DH * KW + kx) * C + channel, taps[kx]);
#pragma unroll
            for (int column = FIRST_X; column <= LAST_X; column++) {
                bool seen = false;
#pragma unroll
                for (int tx = 0; tx < ACROSS; tx++) {
                    const int right = tx + PW - column * SW;
                    seen |= right >= 0 && right % DW == 0 && right / DW < KW;
                }
                const int ox = bx + column;
                if (!seen || ox < 0 || ox >= OW) continue;
                float value[V];
                load(line + (INDEX)ox * Y_W, value);
#pragma unroll
                for (int tx = 0; tx < ACROSS; tx++) {
                    const int right = tx + PW - column * SW;
                    if (right < 0 || right % DW != 0 || right / DW >= KW) continue;
#pragma unroll
                    for (int v = 0; v < V; v++) total[ty][tx][v] += value[v] * taps[right / DW][v];
                }
            }
        }
    }
#pragma unroll
    for (int ty = 0; ty < SH; ty++) {
        const int iy = by * SH + ty;
        if (iy >= H) continue;
#pragma unroll
        for (int tx = 0; tx < ACROSS; tx++) {
            const int ix = bx * SW + tx;
            if (ix >= W) continue;
            if (HAS_PLUS) {
                float more[V];
                load(plus + n * P_N + (INDEX)iy * P_H + (INDEX)ix * P_W + channel, more);
#pragma unroll
                for (int v = 0; v < V; v++) total[ty][tx][v] += more[v];
            }
            store(dx + n * X_N + (INDEX)iy * X_H + (INDEX)ix * X_W + channel, total[ty][tx]);
        }
    }
}
