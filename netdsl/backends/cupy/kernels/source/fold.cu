// The second stage of sums over memory: out[set, column] = factor * (sum or largest of parts[set, row, column] over the
// rows) (+ out, where ADD). Rows go to LANES threads in turn and these are put together in order.
//
// With TAPS > 0 the columns are (tap, channel) and are written as PyTorch lays weights out, (channel, tap), the columns
// behind TAPS taps into `rest`.
//
// Block: WIDE columns x LANES. Grid: blocks of columns (fastest) x sets.

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1)
    KERNEL(const float *__restrict__ parts, O *out, O *rest) {
    const int column = blockIdx.x % WIDE_BLOCKS * WIDE + threadIdx.x;
    const long long set = blockIdx.x / WIDE_BLOCKS;
    float value = MAXIMUM ? -infinity() : 0.0f;
    if (column < COLUMNS)
        for (int row = threadIdx.y; row < ROWS; row += LANES) {
            const float more = parts[(set * ROWS + row) * COLUMNS + column];
            value = MAXIMUM ? larger(value, more) : value + more;
        }
    __shared__ float room[LANES][WIDE + 1];
    room[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.y > 0 || column >= COLUMNS) return;
    for (int lane = 1; lane < LANES; lane++)
        value = MAXIMUM ? larger(value, room[lane][threadIdx.x]) : value + room[lane][threadIdx.x];
    value *= FACTOR;
    bool add = ADD;
    O *to = out + set * COLUMNS + column;
    if (TAPS > 0) {
        constexpr int WIDTH = TAPS > 0 ? TAPS : 1, CHANNELS = TAPS > 0 ? C : 1;
        const int tap = column / CHANNELS, channel = column % CHANNELS;
        to = tap < WIDTH ? out + (long long)channel * WIDTH + tap : rest + channel;
        add = tap < WIDTH ? ADD : ADD_REST;
    }
    *to = narrow<O>(add ? widen(*to) + value : value);
}
