// Between the gradients and the update, by a single block: the norm of the gradients, whether they are finite, by what the
// update multiplies them, and the numbers of this step. All of it stays on the device, so that a captured graph can be
// replayed with another learning rate.
//
// state (double): see STATE in update.py. given (float): the learning rate.

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    KERNEL(const double *__restrict__ parts, const float *__restrict__ given, double *__restrict__ state,
           float *__restrict__ scalars) {
    __shared__ double room[THREADS];
    double sum = 0.0;
    for (int item = threadIdx.x; item < PARTS; item += THREADS) sum += parts[item];
    room[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    }
    if (threadIdx.x > 0) return;
    const double scale = SCALED ? state[LOSS_SCALE] : 1.0;
    const double length = sqrt(room[0]) / scale;
    const bool finite = room[0] - room[0] == 0.0;
    const bool skip = !finite;
    state[NORM] = length;
    state[SKIPPED] = skip ? 1.0 : 0.0;
    if (SCALED) {
        // torch.amp.GradScaler: halve at once, double after GROWTH_STEPS good steps.
        state[GOOD_STEPS] = skip ? 0.0 : state[GOOD_STEPS] + 1.0;
        if (skip) {
            state[LOSS_SCALE] = scale * BACKOFF;
        } else if (state[GOOD_STEPS] >= GROWTH_STEPS) {
            state[GOOD_STEPS] = 0.0;
            state[LOSS_SCALE] = scale * GROWTH < MOST_SCALE ? scale * GROWTH : MOST_SCALE;
        }
    }
    if (!skip) state[STEPS] += 1.0;
    double factor = 1.0 / scale;
    if (CLIP_NORM > 0.0) {
        const double limit = CLIP_NORM / (length + 1e-6);
        if (limit < 1.0) factor *= limit;
    }
    const double steps = state[STEPS];
    scalars[LR] = given[0];
    scalars[FACTOR] = (float)factor;
    scalars[SKIP] = skip ? 1.0f : 0.0f;
    scalars[FIRST] = (float)((double)given[0] / (1.0 - pow(BETA1, steps)));
    scalars[SECOND] = (float)(1.0 / sqrt(1.0 - pow(BETA2, steps)));
    scalars[KEEP] = (float)(EMA_DECAY < (1.0 + steps) / (10.0 + steps) ? EMA_DECAY : (1.0 + steps) / (10.0 + steps));
}
