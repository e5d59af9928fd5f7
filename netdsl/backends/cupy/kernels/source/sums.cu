// Sums (or the largest) of each channel over a tile of the positions of a set. With one tile a set this is all: it is
// multiplied by FACTOR and written as O; otherwise parts[set, tile, c] go to `fold`.
//
// Block: WIDE vectors of channels x LANES positions. Grid: blocks of channels (fastest) x tiles x sets.

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1) KERNEL(const T *__restrict__ x, O *__restrict__ parts) {
    const int vector = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x, channel = vector * V, lane = threadIdx.y;
    const int rest = blockIdx.x / WIDE_BLOCKS, tile = rest % TILES, set = rest / TILES;
    const int first = tile * SPAN, end = first + SPAN < P ? first + SPAN : P;
    float total[V];
    fill(total, MAXIMUM ? -infinity() : 0.0f);
    if (channel < C) {
        const T *from = x + (INDEX)set * X_N + channel;
#pragma unroll 4
        for (int p = first + lane; p < end; p += LANES) {
            float value[V];
            load(from + (INDEX)p * X_W, value);
#pragma unroll
            for (int v = 0; v < V; v++) total[v] = MAXIMUM ? larger(total[v], value[v]) : total[v] + value[v];
        }
    }
    __shared__ float room[LANES][WIDE * V + 1];
#pragma unroll
    for (int v = 0; v < V; v++) room[lane][threadIdx.x * V + v] = total[v];
    __syncthreads();
    for (int item = lane * WIDE + threadIdx.x; item < WIDE * V; item += WIDE * LANES) {
        const int c = (vector - (int)threadIdx.x) * V + item;
        if (c >= C) continue;
        float all = room[0][item];
        for (int other = 1; other < LANES; other++) all = MAXIMUM ? larger(all, room[other][item]) : all + room[other][item];
        parts[((long long)set * TILES + tile) * C + c] = narrow<O>(TILES == 1 ? all * FACTOR : all);
    }
}
