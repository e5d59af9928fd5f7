// Depthwise convolution: y[n, oy, ox, c] = activate(bias[c] + sum over taps of x[n, iy, ix, c] w[ky, kx, c] + residual),
// iy = oy SH - PH + ky DH. A thread makes V channels of TY x TX neighbouring outputs and reads each number of the input
// that they need once: row after row, each column of a row goes into every output that looks at it. Warps run along the
// channels first, then along the row, so that reads are whole lines of memory; what neighbouring tiles share comes from
// the L1 cache. With CHUNKS a block stays within one image and leaves the sums of its outputs for a global average:
// sums[n, chunk, c], added in a fixed order.
//
// Block: WIDE vectors of channels x LANES tiles. Grid: blocks of channels (fastest) x blocks of tiles.

constexpr int VECTORS = C / V, TILES_X = (OW + TX - 1) / TX, TILES_Y = (OH + TY - 1) / TY;
constexpr int TILES = TILES_X * TILES_Y;
constexpr int ROWS = (TY - 1) * SH + (KH - 1) * DH + 1, COLUMNS = (TX - 1) * SW + (KW - 1) * DW + 1;

DEVICE void tile_sums(const T *__restrict__ x, const T *__restrict__ w, const float *__restrict__ bias,
                      const T *__restrict__ residual, T *__restrict__ y, INDEX n, int tile, int channel,
                      float (&sums)[V]) {
    const int oy0 = tile / TILES_X * TY, ox0 = tile % TILES_X * TX;
    const int iy0 = oy0 * SH - PH, ix0 = ox0 * SW - PW;
    float total[TY][TX][V];
#pragma unroll
    for (int ty = 0; ty < TY; ty++)
#pragma unroll
        for (int tx = 0; tx < TX; tx++) fill(total[ty][tx], 0.0f);
    const T *image = x + n * X_N + channel;
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        const int iy = iy0 + row;
        if (iy < 0 || iy >= H) continue;
        float taps[TY][KW][V];
        bool any = false;
#pragma unroll
        for (int ty = 0; ty < TY; ty++) {
            const int down = row - ty * SH;
            if (down < 0 || down % DH != 0 || down / DH >= KH) continue;
            any = true;
#pragma unroll
            for (int kx = 0; kx < KW; kx++) load(w + (down / DH * KW + kx) * C + channel, taps[ty][kx]);
        }
        if (!any) continue;
        const T *line = image + (INDEX)iy * X_H;
#pragma unroll
        for (int column = 0; column < COLUMNS; column++) {
            bool seen = false;
#pragma unroll
            for (int tx = 0; tx < TX; tx++) {
                const int right = column - tx * SW;
                seen |= right >= 0 && right % DW == 0 && right / DW < KW;
            }
            if (!seen) continue;
            const int ix = ix0 + column;
            float value[V];
            fill(value, 0.0f);
            if (ix >= 0 && ix < W) load(line + (INDEX)ix * X_W, value);
#pragma unroll
            for (int ty = 0; ty < TY; ty++) {
                const int down = row - ty * SH;
                if (down < 0 || down % DH != 0 || down / DH >= KH) continue;
#pragma unroll
                for (int tx = 0; tx < TX; tx++) {
                    const int right = column - tx * SW;
                    if (right < 0 || right % DW != 0 || right / DW >= KW) continue;
#pragma unroll
                    for (int v = 0; v < V; v++) total[ty][tx][v] += value[v] * taps[ty][right / DW][v];
                }
            }
        }
    }
    float start[V];
    fill(start, 0.0f);
    if (HAS_BIAS) load_anywhere(bias + channel, start);
#pragma unroll
    for (int ty = 0; ty < TY; ty++) {
        if (oy0 + ty >= OH) continue;
#pragma unroll
        for (int tx = 0; tx < TX; tx++) {
            if (ox0 + tx >= OW) continue;
            float more[V];
            fill(more, 0.0f);
            if (HAS_RESIDUAL)
                load(residual + n * R_N + (INDEX)(oy0 + ty) * R_H + (INDEX)(ox0 + tx) * R_W + channel, more);
#pragma unroll
            for (int v = 0; v < V; v++) {
                total[ty][tx][v] = activate(total[ty][tx][v] + start[v] + more[v]);
                sums[v] += total[ty][tx][v];
            }
            store(y + n * Y_N + (INDEX)(oy0 + ty) * Y_H + (INDEX)(ox0 + tx) * Y_W + channel, total[ty][tx]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1)
    KERNEL(const T *__restrict__ x, const T *__restrict__ w, const float *__restrict__ bias,
           const T *__restrict__ residual, T *__restrict__ y, float *__restrict__ sums) {
    const int vector = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x, channel = vector * V;
    const int lane = threadIdx.y;
    float sum[V];
    fill(sum, 0.0f);
    if (CHUNKS == 0) {
        const long long tile = (long long)(blockIdx.x / WIDE_BLOCKS) * LANES + lane;
        if (vector < VECTORS && tile < (long long)N * TILES)
            tile_sums(x, w, bias, residual, y, (INDEX)(tile / TILES), (int)(tile % TILES), channel, sum);
        return;
    }
    const int rest = blockIdx.x / WIDE_BLOCKS, n = rest / COUNT, chunk = rest % COUNT;
    if (vector < VECTORS)
        for (int tile = chunk * LANES + lane; tile < TILES; tile += COUNT * LANES)
            tile_sums(x, w, bias, residual, y, (INDEX)n, tile, channel, sum);
    __shared__ float parts[LANES][WIDE * V + 1];
#pragma unroll
    for (int v = 0; v < V; v++) parts[lane][threadIdx.x * V + v] = sum[v];
    __syncthreads();
    for (int item = lane * WIDE + threadIdx.x; item < WIDE * V; item += WIDE * LANES) {
        const int c = (vector - threadIdx.x) * V + item;
        if (c >= C) continue;
        float all = 0.0f;
        for (int other = 0; other < LANES; other++) all += parts[other][item];
        sums[((long long)n * COUNT + chunk) * C + c] = all;
    }
}
