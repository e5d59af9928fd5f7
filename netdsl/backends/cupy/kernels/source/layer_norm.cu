// Layer normalisation over the channels of each position, both ways. A row is held in the registers of LANES threads: one
// pass over memory; the variance is formed about the mean.
//
//   forward   y = activate(weight x^ + bias)           x^ = (x - mean) inverse
//   BACKWARD  dx = plus + inverse (g - mean(g) - x^ mean(g x^)), g = weight dy; stats[row] = (mean, inverse) for the weights
//
// Block: LANES x ROWS. Grid: blocks of rows.

constexpr int STEP = LANES * V, KEEP = (C + STEP - 1) / STEP;

extern "C" __global__ void __launch_bounds__(LANES *ROWS, 1)
    KERNEL(const T *x, const float *__restrict__ weight, const float *__restrict__ bias, const T *dy, const T *plus, T *y,
           float *__restrict__ stats) {
    __shared__ float room[LANES * ROWS / 32 + 1];
    const int lane = threadIdx.x;
    const long long row = (long long)blockIdx.x * ROWS + threadIdx.y;
    const bool there = row < COUNT;
    const long long n = row / P, p = row % P;
    float value[KEEP][V];
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < KEEP; k++) {
        const int c = k * STEP + lane * V;
        fill(value[k], 0.0f);
        if (there && c < C) load(x + n * X_N + p * X_W + c, value[k]);
#pragma unroll
        for (int v = 0; v < V; v++) sum += value[k][v];
    }
    const float mean = across<LANES, Plus>(sum, room) / C;
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < KEEP; k++) {
        const bool in = k * STEP + lane * V < C;
#pragma unroll
        for (int v = 0; v < V; v++) {
            value[k][v] = in ? value[k][v] - mean : 0.0f;
            squares += value[k][v] * value[k][v];
        }
    }
    const float inverse = 1.0f / sqrtf(across<LANES, Plus>(squares, room) / C + EPS);
    if constexpr (!BACKWARD) {
#pragma unroll
        for (int k = 0; k < KEEP; k++) {
            const int c = k * STEP + lane * V;
            if (!there || c >= C) continue;
            float scale[V], shift[V];
            fill(scale, 1.0f);
            fill(shift, 0.0f);
            if (AFFINE) {
                load_anywhere(weight + c, scale);
                load_anywhere(bias + c, shift);
            }
#pragma unroll
            for (int v = 0; v < V; v++) value[k][v] = activate(value[k][v] * inverse * scale[v] + shift[v]);
            store(y + n * Y_N + p * Y_W + c, value[k]);
        }
    } else {
        float back[KEEP][V], plain = 0.0f, weighted = 0.0f;
#pragma unroll
        for (int k = 0; k < KEEP; k++) {
            const int c = k * STEP + lane * V;
            float scale[V];
            fill(back[k], 0.0f);
            fill(scale, 1.0f);
            if (there && c < C) {
                load(dy + n * D_N + p * D_W + c, back[k]);
                if (AFFINE) load_anywhere(weight + c, scale);
            }
#pragma unroll
            for (int v = 0; v < V; v++) {
                back[k][v] *= scale[v];
                plain += back[k][v];
                weighted += back[k][v] * value[k][v];
            }
        }
        plain = across<LANES, Plus>(plain, room) / C;
        weighted = across<LANES, Plus>(weighted, room) * inverse * inverse / C;
        if (HAS_STATS && there && lane == 0) {
            stats[2 * row] = mean;
            stats[2 * row + 1] = inverse;
        }
        if (!HAS_DX) return;
#pragma unroll
        for (int k = 0; k < KEEP; k++) {
            const int c = k * STEP + lane * V;
            if (!there || c >= C) continue;
            float more[V];
            fill(more, 0.0f);
            if (HAS_PLUS) load(plus + n * P_N + p * P_W + c, more);
#pragma unroll
            for (int v = 0; v < V; v++) back[k][v] = more[v] + inverse * (back[k][v] - plain - value[k][v] * weighted);
            store(y + n * Y_N + p * Y_W + c, back[k]);
        }
    }
}
