// What all kernels share: types of storage, vectors of them, sums across threads.
//
// No header of the toolkit is needed, so that NVRTC compiles a kernel in milliseconds and finds nothing missing. Numbers
// lie in memory as float, half_t or bfloat_t; all arithmetic is done in float. Conversions round to the nearest, ties to
// even. Tests compile the same text for the host, where NETDSL_HOST is defined and a small header stands in for CUDA.
#ifndef NETDSL_COMMON
#define NETDSL_COMMON

#define DEVICE __device__ __forceinline__

struct half_t {
    unsigned short bits;
};

struct bfloat_t {
    unsigned short bits;
};

DEVICE float widen(float x) { return x; }
DEVICE float widen(unsigned char x) { return x; }
DEVICE float widen(bfloat_t x) { return __uint_as_float((unsigned int)x.bits << 16); }
DEVICE float widen(half_t x) {
#ifdef NETDSL_HOST
    return float_of_half(x.bits);
#else
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#endif
}

template <class T> DEVICE T narrow(float x);
template <> DEVICE float narrow<float>(float x) { return x; }
template <> DEVICE half_t narrow<half_t>(float x) {
    half_t y;
#ifdef NETDSL_HOST
    y.bits = half_of_float(x);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
    return y;
}
template <> DEVICE bfloat_t narrow<bfloat_t>(float x) {
    bfloat_t y;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    const unsigned int bits = __float_as_uint(x);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    y.bits = (unsigned short)(nan ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
    return y;
}

// What x is once it has been written as a T and read again.
template <class T> DEVICE float rounded(float x) { return widen(narrow<T>(x)); }

template <int BYTES> struct Word;
template <> struct Word<1> { typedef unsigned char type; };
template <> struct Word<2> { typedef unsigned short type; };
template <> struct Word<4> { typedef unsigned int type; };
template <> struct Word<8> { typedef uint2 type; };
template <> struct Word<16> { typedef uint4 type; };

// Tests look whether what is read as a word begins at a multiple of it, which a GPU demands.
#ifndef NETDSL_HOST
#define ALIGNED(pointer, bytes)
#endif

// V neighbouring numbers as words of up to 16 bytes; `from` is a multiple of a word.
template <int V, class T> DEVICE void load(const T *from, float (&to)[V]) {
    constexpr int BYTES = V * (int)sizeof(T) < 16 ? V * (int)sizeof(T) : 16;
    constexpr int ITEMS = BYTES / (int)sizeof(T);
    typedef typename Word<BYTES>::type W;
    union {
        W word;
        T items[ITEMS];
    } pack;
#pragma unroll
    for (int part = 0; part < V; part += ITEMS) {
        ALIGNED(from + part, BYTES);
        pack.word = *reinterpret_cast<const W *>(from + part);
#pragma unroll
        for (int item = 0; item < ITEMS; item++) to[part + item] = widen(pack.items[item]);
    }
}

// The same from wherever it is: parameters of training lie behind each other without gaps.
template <int V> DEVICE void load_anywhere(const float *from, float (&to)[V]) {
    constexpr unsigned int BYTES = V * 4 < 16 ? V * 4 : 16;
    if ((reinterpret_cast<unsigned long long>(from) & (BYTES - 1u)) == 0u) {
        load(from, to);
    } else {
#pragma unroll
        for (int item = 0; item < V; item++) to[item] = from[item];
    }
}

template <int V, class T> DEVICE void store(T *to, const float (&from)[V]) {
    constexpr int BYTES = V * (int)sizeof(T) < 16 ? V * (int)sizeof(T) : 16;
    constexpr int ITEMS = BYTES / (int)sizeof(T);
    typedef typename Word<BYTES>::type W;
    union {
        W word;
        T items[ITEMS];
    } pack;
#pragma unroll
    for (int part = 0; part < V; part += ITEMS) {
#pragma unroll
        for (int item = 0; item < ITEMS; item++) pack.items[item] = narrow<T>(from[part + item]);
        ALIGNED(to + part, BYTES);
        *reinterpret_cast<W *>(to + part) = pack.word;
    }
}

template <int V> DEVICE void load_bytes(const unsigned char *from, int (&to)[V]) {
    typedef typename Word<V>::type W;
    union {
        W word;
        unsigned char items[V];
    } pack;
    ALIGNED(from, V);
    pack.word = *reinterpret_cast<const W *>(from);
#pragma unroll
    for (int item = 0; item < V; item++) to[item] = pack.items[item];
}

template <int V> DEVICE void store_bytes(unsigned char *to, const int (&from)[V]) {
    typedef typename Word<V>::type W;
    union {
        W word;
        unsigned char items[V];
    } pack;
#pragma unroll
    for (int item = 0; item < V; item++) pack.items[item] = (unsigned char)from[item];
    ALIGNED(to, V);
    *reinterpret_cast<W *>(to) = pack.word;
}

template <int V> DEVICE void fill(float (&to)[V], float value) {
#pragma unroll
    for (int item = 0; item < V; item++) to[item] = value;
}

DEVICE float quiet_nan() { return __uint_as_float(0x7fffffffu); }
DEVICE float infinity() { return __uint_as_float(0x7f800000u); }

// The larger and the smaller number; NaN where either is (fmaxf would lose it).
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
DEVICE float larger(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
DEVICE float smaller(float a, float b) {
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
#else
DEVICE float larger(float a, float b) { return a > b || a != a ? a : b; }
DEVICE float smaller(float a, float b) { return a < b || a != a ? a : b; }
#endif

struct Plus {
    DEVICE static float of(float a, float b) { return a + b; }
};

struct Larger {
    DEVICE static float of(float a, float b) { return larger(a, b); }
};

// `value` of LANES neighbouring threads put together, in each of them with the same bits. LANES is a power of two; all
// threads of the block take part. `room` holds a number for each warp of the block, where LANES exceeds a warp.
template <int LANES, class Operation> DEVICE float across(float value, float *room) {
    const int thread = threadIdx.x + blockDim.x * threadIdx.y;
#pragma unroll
    for (int step = (LANES < 32 ? LANES : 32) / 2; step > 0; step /= 2)
        value = Operation::of(value, __shfl_xor_sync(0xffffffffu, value, step));
    if (LANES > 32) {
        const int first = thread / LANES * (LANES / 32);
        if (thread % 32 == 0) room[thread / 32] = value;
        __syncthreads();
        value = room[first];
        for (int warp = 1; warp < LANES / 32; warp++) value = Operation::of(value, room[first + warp]);
        __syncthreads();
    }
    return value;
}

// Count, mean and sum of squared distances from the mean (Welford 1962; put together as Chan, Golub & LeVeque 1979).
struct Moments {
    float count, mean, squares;
};

DEVICE Moments together(Moments a, Moments b) {
    const float count = a.count + b.count;
    if (count == 0.0f) return a;
    const float difference = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + difference * share, a.squares + b.squares + difference * difference * a.count * share};
}

#endif
