// The gradient of a depthwise convolution by its weights, the first of two stages:
// parts[chunk, ky KW + kx, c] = sum over the outputs of a chunk of dy[n, oy, ox, c] x[n, iy, ix, c], and with HAS_BIAS the
// sums of dy behind the taps. A thread holds V channels of one row ky of the kernel and goes from segment to segment of
// TX outputs; a segment's x is read once for all taps of the row. The lanes of a block are added in order, the chunks by
// `fold`: no atomics, the same bits every time.
//
// Block: WIDE vectors of channels x LANES segments x KH rows of the kernel. Grid: blocks of channels (fastest) x chunks.

constexpr int VECTORS = C / V, SEGMENTS = (OW + TX - 1) / TX, COLUMNS = (TX - 1) * SW + (KW - 1) * DW + 1;
constexpr int TAPS = KH * KW + (HAS_BIAS ? 1 : 0);

extern "C" __global__ void __launch_bounds__(WIDE *LANES *KH, 1)
    KERNEL(const T *__restrict__ x, const T *__restrict__ dy, float *__restrict__ parts) {
    const int vector = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x, channel = vector * V;
    const int chunk = blockIdx.x / WIDE_BLOCKS, lane = threadIdx.y, ky = threadIdx.z;
    float total[KW][V], all[V];
#pragma unroll
    for (int kx = 0; kx < KW; kx++) fill(total[kx], 0.0f);
    fill(all, 0.0f);
    if (vector < VECTORS) {
        const long long end = (long long)N * OH * SEGMENTS;
        for (long long number = (long long)chunk * LANES + lane; number < end; number += CHUNKS * LANES) {
            const int ox0 = (int)(number % SEGMENTS) * TX;
            const long long above = number / SEGMENTS;
            const int oy = (int)(above % OH);
            const INDEX n = (INDEX)(above / OH);
            const int iy = oy * SH - PH + ky * DH, ix0 = ox0 * SW - PW;
            const bool inside = iy >= 0 && iy < H;
            if (!inside && !(HAS_BIAS && ky == 0)) continue;
            float slope[TX][V];
            const T *from = dy + n * Y_N + (INDEX)oy * Y_H + channel;
#pragma unroll
            for (int tx = 0; tx < TX; tx++) {
                fill(slope[tx], 0.0f);
                if (ox0 + tx < OW) load(from + (INDEX)(ox0 + tx) * Y_W, slope[tx]);
                if (HAS_BIAS)
#pragma unroll
                    for (int v = 0; v < V; v++) all[v] += slope[tx][v];
            }
            if (!inside) continue;
            const T *line = x + n * X_N + (INDEX)iy * X_H + channel;
#pragma unroll
            for (int column = 0; column < COLUMNS; column++) {
                bool seen = false;
#pragma unroll
                for (int tx = 0; tx < TX; tx++) {
                    const int right = column - tx * SW;
                    seen |= right >= 0 && right % DW == 0 && right / DW < KW;
                }
                const int ix = ix0 + column;
                if (!seen || ix < 0 || ix >= W) continue;
                float value[V];
                load(line + (INDEX)ix * X_W, value);
#pragma unroll
                for (int tx = 0; tx < TX; tx++) {
                    const int right = column - tx * SW;
                    if (right < 0 || right % DW != 0 || right / DW >= KW) continue;
#pragma unroll
                    for (int v = 0; v < V; v++) total[right / DW][v] += value[v] * slope[tx][v];
                }
            }
        }
    }
    __shared__ float room[KH][LANES][WIDE * V + 1];
#pragma unroll
    for (int kx = 0; kx < KW + (HAS_BIAS ? 1 : 0); kx++) {
        __syncthreads();
#pragma unroll
        for (int v = 0; v < V; v++) room[ky][lane][threadIdx.x * V + v] = kx < KW ? total[kx < KW ? kx : 0][v] : all[v];
        __syncthreads();
        if (kx == KW && ky > 0) continue;
        for (int item = lane * WIDE + threadIdx.x; item < WIDE * V; item += WIDE * LANES) {
            const int c = (vector - (int)threadIdx.x) * V + item;
            if (c >= C) continue;
            float sum = 0.0f;
            for (int other = 0; other < LANES; other++) sum += room[ky][other][item];
            const int tap = kx < KW ? ky * KW + kx : KH * KW;
            parts[((long long)chunk * TAPS + tap) * C + c] = sum;
        }
    }
}
