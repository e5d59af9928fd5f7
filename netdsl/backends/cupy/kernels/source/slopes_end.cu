// The second stage of `slopes`: what dx = factor dz - less - (x - mean) steep needs, four rows of SETS x C numbers, where with
// m1 and m2 the means of weight dz and weight dz x^ over a group: factor = inverse weight, less = inverse m1,
// steep = inverse^2 m2 (Ioffe & Szegedy 2015, section 3; Wu & He 2018).
//
// Block: WIDE columns x LANES, a column being a group of PER channels of a set. Grid: blocks of columns.

constexpr int COLUMNS = SETS * (C / PER), ITEMS = TILES * PER;

extern "C" __global__ void __launch_bounds__(WIDE *LANES, 1)
    KERNEL(const float *__restrict__ parts, const float *__restrict__ moments, const float *__restrict__ weight,
           float *__restrict__ factors) {
    const int column = blockIdx.x * WIDE + threadIdx.x, lane = threadIdx.y;
    const int set = column / (C / PER), first = column % (C / PER) * PER;
    double plain = 0.0, weighted = 0.0;
    if (column < COLUMNS)
        for (int item = lane; item < ITEMS; item += LANES) {
            const int channel = first + item % PER;
            const float *from = parts + ((long long)set * TILES + item / PER) * 2 * C + channel;
            const double by = HAS_WEIGHT ? weight[channel] : 1.0;
            plain += by * from[0];
            weighted += by * from[C];
        }
    __shared__ double room[2][LANES][WIDE];
    room[0][lane][threadIdx.x] = plain;
    room[1][lane][threadIdx.x] = weighted;
    __syncthreads();
    if (lane == 0) {
        for (int other = 1; other < LANES; other++) {
            plain += room[0][other][threadIdx.x];
            weighted += room[1][other][threadIdx.x];
        }
        room[0][0][threadIdx.x] = plain / ((double)P * PER);
        room[1][0][threadIdx.x] = weighted / ((double)P * PER);
    }
    __syncthreads();
    if (column >= COLUMNS) return;
    plain = room[0][0][threadIdx.x];
    weighted = room[1][0][threadIdx.x];
    for (int item = lane; item < PER; item += LANES) {
        const int channel = first + item;
        const float *of = moments + (long long)set * C + channel;
        const double inverse = of[(long long)SETS * C];
        float *to = factors + (long long)set * C + channel;
        to[0] = (float)(HAS_WEIGHT ? inverse * weight[channel] : inverse);
        to[(long long)SETS * C] = (float)(inverse * plain);
        to[2ll * SETS * C] = of[0];
        to[3ll * SETS * C] = (float)(inverse * inverse * weighted);
    }
}
