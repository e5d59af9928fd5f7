// The second stage of `moments`: a column is a group of PER channels of a set. Its tiles and channels are put together in
// double precision, in order, and make four rows of SETS x C numbers: the mean, one over the deviation, and the scale and
// shift that these make with the weights, y = scale x + shift. A batch norm moves its running statistics too.
//
// Block: WIDE columns x LANES. Grid: blocks of columns.

constexpr int COLUMNS = SETS * (C / PER), ITEMS = TILES * PER;

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1)
    KERNEL(const float *__restrict__ parts, const float *__restrict__ weight, const float *__restrict__ bias,
           float *__restrict__ moments, float *__restrict__ running_mean, float *__restrict__ running_var,
           long long *__restrict__ tracked) {
    const int column = blockIdx.x * WIDE + threadIdx.x, lane = threadIdx.y;
    const int set = column / (C / PER), first = column % (C / PER) * PER;
    double count = 0.0, mean = 0.0, squares = 0.0;
    if (column < COLUMNS)
        for (int item = lane; item < ITEMS; item += LANES) {
            const int tile = item / PER, left = P - tile * SPAN;
            const float *from = parts + ((long long)set * TILES + tile) * 2 * C + first + item % PER;
            const double more = left < SPAN ? left : SPAN, all = count + more;
            const double difference = (double)from[0] - mean, share = more / all;
            squares += (double)from[C] + difference * difference * count * share;
            mean += difference * share;
            count = all;
        }
    __shared__ double counts[LANES][WIDE], means[LANES][WIDE], sums[LANES][WIDE];
    counts[lane][threadIdx.x] = count;
    means[lane][threadIdx.x] = mean;
    sums[lane][threadIdx.x] = squares;
    __syncthreads();
    if (lane == 0) {
        for (int other = 1; other < LANES; other++) {
            const double more = counts[other][threadIdx.x], all = count + more;
            if (more == 0.0) continue;
            const double difference = means[other][threadIdx.x] - mean, share = more / all;
            squares += sums[other][threadIdx.x] + difference * difference * count * share;
            mean += difference * share;
            count = all;
        }
        means[0][threadIdx.x] = mean;
        sums[0][threadIdx.x] = column < COLUMNS ? 1.0 / sqrt(squares / count + (double)EPS) : 0.0;
        if (RUNNING && column < COLUMNS) {
            const double sample = squares / (count > 1.0 ? count - 1.0 : 1.0);
            running_mean[column] = (float)((1.0 - MOMENTUM) * running_mean[column] + MOMENTUM * mean);
            running_var[column] = (float)((1.0 - MOMENTUM) * running_var[column] + MOMENTUM * sample);
            if (column == 0) tracked[0] += 1;
        }
    }
    __syncthreads();
    if (column >= COLUMNS) return;
    mean = means[0][threadIdx.x];
    const double inverse = sums[0][threadIdx.x];
    for (int item = lane; item < PER; item += LANES) {
        const int channel = first + item;
        const double scale = HAS_WEIGHT ? inverse * weight[channel] : inverse;
        float *to = moments + (long long)set * C + channel;
        to[0] = (float)mean;
        to[(long long)SETS * C] = (float)inverse;
        to[2ll * SETS * C] = (float)scale;
        to[3ll * SETS * C] = (float)((HAS_BIAS ? bias[channel] : 0.0) - mean * scale);
    }
}
