// Softmax and its logarithm over the channels of each position, both ways. A row is held in the registers of LANES threads.
//
//   forward   y = e^(x - max) / sum, or with LOGARITHM x - max - log(sum)
//   BACKWARD  dx = plus + y (dy - sum(dy y)), or with LOGARITHM dy - e^y sum(dy); x is y then
//
// Block: LANES x ROWS. Grid: blocks of rows.

constexpr int STEP = LANES * V, KEEP = (C + STEP - 1) / STEP;

extern "C" __global__ void __launch_bounds__(LANES *ROWS, 1) KERNEL(const T *x, const T *dy, const T *plus, T *y) {
    __shared__ float room[LANES * ROWS / 32 + 1];
    const int lane = threadIdx.x;
    const long long row = (long long)blockIdx.x * ROWS + threadIdx.y;
    const bool there = row < COUNT;
    const long long n = row / P, p = row % P;
    float value[KEEP][V];
#pragma unroll
    for (int k = 0; k < KEEP; k++) {
        const int c = k * STEP + lane * V;
        fill(value[k], BACKWARD ? 0.0f : -infinity());
        if (there && c < C) load(x + n * X_N + p * X_W + c, value[k]);
    }
    if constexpr (!BACKWARD) {
        float most = -infinity(), sum = 0.0f;
#pragma unroll
        for (int k = 0; k < KEEP; k++)
#pragma unroll
            for (int v = 0; v < V; v++) most = larger(most, value[k][v]);
        most = across<LANES, Larger>(most, room);
        if (!there) most = 0.0f;
#pragma unroll
        for (int k = 0; k < KEEP; k++) {
            const bool in = k * STEP + lane * V < C;
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float less = value[k][v] - most, e = in ? power_of_e<FAST>(less) : 0.0f;
                sum += e;
                value[k][v] = LOGARITHM ? less : e;
            }
        }
        sum = across<LANES, Plus>(sum, room);
        const float part = LOGARITHM ? logf(sum) : 1.0f / sum;
#pragma unroll
        for (int k = 0; k < KEEP; k++)
#pragma unroll
            for (int v = 0; v < V; v++) value[k][v] = LOGARITHM ? value[k][v] - part : value[k][v] * part;
    } else {
        float back[KEEP][V], sum = 0.0f;
#pragma unroll
        for (int k = 0; k < KEEP; k++) {
            const int c = k * STEP + lane * V;
            fill(back[k], 0.0f);
            if (there && c < C) load(dy + n * D_N + p * D_W + c, back[k]);
#pragma unroll
            for (int v = 0; v < V; v++) sum += LOGARITHM ? back[k][v] : back[k][v] * value[k][v];
        }
        sum = across<LANES, Plus>(sum, room);
#pragma unroll
        for (int k = 0; k < KEEP; k++) {
            const int c = k * STEP + lane * V;
            float more[V];
            fill(more, 0.0f);
            if (HAS_PLUS && there && c < C) load(plus + n * P_N + p * P_W + c, more);
#pragma unroll
            for (int v = 0; v < V; v++)
                value[k][v] = more[v] + (LOGARITHM ? back[k][v] - power_of_e<FAST>(value[k][v]) * sum
                                                   : value[k][v] * (back[k][v] - sum));
        }
    }
#pragma unroll
    for (int k = 0; k < KEEP; k++) {
        const int c = k * STEP + lane * V;
        if (there && c < C) store(y + n * Y_N + p * Y_W + c, value[k]);
    }
}
