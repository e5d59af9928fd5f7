// CUDA's words for a compiler of the host: kernels run thread by thread, and meet where they must.
//
// Each thread of a block is a fibre of its own, with its own stack; a barrier or an exchange within a warp gives way to
// the others. Blocks run one after the other; shared memory holds NaN when a block begins. Whoever calls may turn the
// order of the threads and of the blocks around: a kernel that relies on either gives other bits then.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define NETDSL_HOST 1
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define TEXT_OF_(name) #name
#define TEXT_OF(name) TEXT_OF_(name)
#define __shared__ static __attribute__((section(TEXT_OF(KERNEL) "_room"), aligned(16)))
#define __restrict__
#define ALIGNED(pointer, bytes) host::misaligned |= ((uintptr_t)(pointer) & ((bytes) - 1)) != 0

struct alignas(8) uint2 { unsigned int x, y; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct dim3_ { unsigned int x, y, z; };

static dim3_ threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned int bits) { float x; std::memcpy(&x, &bits, 4); return x; }
static inline unsigned int __float_as_uint(float x) { unsigned int bits; std::memcpy(&bits, &x, 4); return bits; }
static inline float quick_exp(float x) { return expf(x); }
#define __expf quick_exp
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }

static inline float float_of_half(unsigned short h) {
    const int exponent = (h >> 10) & 31, fraction = h & 1023;
    float x = exponent == 0    ? std::ldexp((float)fraction, -24)
              : exponent == 31 ? (fraction ? NAN : INFINITY)
                               : std::ldexp((float)(1024 + fraction), exponent - 25);
    return h & 0x8000 ? -x : x;
}

static inline unsigned short half_of_float(float x) {
    const unsigned short sign = (__float_as_uint(x) >> 16) & 0x8000;
    const double size = std::fabs((double)x);
    if (std::isnan(x)) return 0x7fff;
    if (size == 0.0) return sign;
    if (size >= 65520.0) return sign | 0x7c00;
    int exponent;
    std::frexp(size, &exponent);
    const int last = std::max(exponent - 11, -24);  // the power of two of the last bit
    const double steps = std::nearbyint(std::ldexp(size, -last));
    if (last == -24) return sign | (unsigned short)steps;  // subnormals, or just the smallest normal number
    return sign | (unsigned short)(((last + 24) << 10) + (int)steps);
}

namespace host {
static bool misaligned;
enum State { READY, AT_WARP, AT_BLOCK, DONE };
constexpr int STACK = 1 << 16, MOST = 1024;
struct Fibre { ucontext_t context; State state; };
static Fibre fibres[MOST];
static ucontext_t scheduler;
static char *stacks = nullptr;
static int current;
static uint64_t slots[MOST];
static void (*body)(void *);
static void *given;

static void begin() {
    body(given);
    fibres[current].state = DONE;
    swapcontext(&fibres[current].context, &scheduler);
}

static void give_way(State state) {
    fibres[current].state = state;
    swapcontext(&fibres[current].context, &scheduler);
}

static void place(int number) {
    current = number;
    threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y, number / (blockDim.x * blockDim.y)};
}

// One block. False where threads wait for each other for ever.
static bool run_block(int count, bool meet, bool turned) {
    if (!meet) {
        for (int i = 0; i < count; i++) {
            place(turned ? count - 1 - i : i);
            body(given);
        }
        return true;
    }
    if (!stacks) stacks = (char *)std::malloc((size_t)STACK * MOST);
    for (int i = 0; i < count; i++) {
        getcontext(&fibres[i].context);
        fibres[i].context.uc_stack.ss_sp = stacks + (size_t)STACK * i;
        fibres[i].context.uc_stack.ss_size = STACK;
        fibres[i].context.uc_link = nullptr;
        fibres[i].state = READY;
        makecontext(&fibres[i].context, begin, 0);
    }
    for (;;) {
        for (int i = 0; i < count; i++) {
            const int number = turned ? count - 1 - i : i;
            if (fibres[number].state != READY) continue;
            place(number);
            swapcontext(&scheduler, &fibres[number].context);
        }
        bool moved = false;
        int waiting = 0, done = 0;
        for (int first = 0; first < count; first += 32) {
            const int end = first + 32 < count ? first + 32 : count;
            int at_warp = 0, live = 0;
            for (int i = first; i < end; i++) {
                at_warp += fibres[i].state == AT_WARP;
                live += fibres[i].state != DONE;
                waiting += fibres[i].state == AT_BLOCK;
                done += fibres[i].state == DONE;
            }
            if (live && at_warp == live) {
                for (int i = first; i < end; i++)
                    if (fibres[i].state == AT_WARP) fibres[i].state = READY;
                moved = true;
            }
        }
        if (done == count) return true;
        if (!moved && waiting + done == count) {
            for (int i = 0; i < count; i++)
                if (fibres[i].state == AT_BLOCK) fibres[i].state = READY;
            moved = true;
        }
        if (!moved) return false;
    }
}

// The arguments of a kernel, read from an array of pointers to each.
template <class... A, size_t... I> void call(void (*kernel)(A...), void **given, std::index_sequence<I...>) {
    kernel(*reinterpret_cast<A *>(given[I])...);
}

template <class... A> void apply(void (*kernel)(A...), void **given) {
    call(kernel, given, std::index_sequence_for<A...>{});
}
}  // namespace host

static inline void __syncthreads() { host::give_way(host::AT_BLOCK); }

template <class T> static inline T __shfl_xor_sync(unsigned int, T value, int lane, int = 32) {
    std::memcpy(&host::slots[host::current], &value, sizeof(T));
    host::give_way(host::AT_WARP);
    T found;
    std::memcpy(&found, &host::slots[host::current ^ lane], sizeof(T));
    host::give_way(host::AT_WARP);
    return found;
}

// sizes: grid, then the block's three extents; flags: 1 threads meet, 2 turned around. 0 where all went well,
// 1 where threads wait for ever, 2 where a word does not begin at a multiple of its size.
static int launch(void (*body)(void *), void *given, const long long *sizes, int flags, char *room, char *end) {
    host::misaligned = false;
    host::body = body;
    host::given = given;
    blockDim = {(unsigned)sizes[1], (unsigned)sizes[2], (unsigned)sizes[3]};
    gridDim = {(unsigned)sizes[0], 1, 1};
    for (long long i = 0; i < sizes[0]; i++) {
        blockIdx = {(unsigned)(flags & 2 ? sizes[0] - 1 - i : i), 0, 0};
        if (room) std::memset(room, 0xff, end - room);
        if (!host::run_block((int)(sizes[1] * sizes[2] * sizes[3]), flags & 1, flags & 2)) return 1;
    }
    return host::misaligned ? 2 : 0;
}

#define LAUNCHER(kernel)                                                                                    \
    extern "C" char __start_##kernel##_room[] __attribute__((weak, visibility("hidden")));                   \
    extern "C" char __stop_##kernel##_room[] __attribute__((weak, visibility("hidden")));                    \
    extern "C" int run_##kernel(void **given, const long long *sizes, int flags) {                          \
        return launch([](void *given) { host::apply(kernel, (void **)given); }, given, sizes, flags,        \
                      __start_##kernel##_room, __stop_##kernel##_room);                                      \
    }
