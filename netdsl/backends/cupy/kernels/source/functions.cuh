// Functions of one number and their derivatives, as the layers of the vocabulary define them.
//
// FAST takes the hardware's approximations of e^x and of quotients: their error of some 2^-21 disappears where numbers are
// stored in 16 bits. A derivative gets x, what the function took, and y, what it gave; it uses what its layer keeps.
#ifndef NETDSL_FUNCTIONS
#define NETDSL_FUNCTIONS

template <bool FAST> DEVICE float power_of_e(float x) { return FAST ? __expf(x) : expf(x); }
template <bool FAST> DEVICE float quotient(float a, float b) { return FAST ? __fdividef(a, b) : a / b; }

// Only e^-|x|, which is at most 1, is ever formed.
template <bool FAST> DEVICE float sigmoid(float x) {
    const float e = power_of_e<FAST>(-fabsf(x));
    return quotient<FAST>(x < 0.0f ? e : 1.0f, 1.0f + e);
}

DEVICE float softplus(float x) { return larger(x, 0.0f) + log1pf(expf(-fabsf(x))); }

DEVICE float clamp(float x, float low, float high) { return smaller(larger(x, low), high); }

DEVICE float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678118654752f * x); }
DEVICE float normal_density(float x) { return 0.39894228040143268f * expf(-0.5f * x * x); }

// tanh is 1 to the last digit long before |x| = 20; the limit keeps the cube from overflowing.
DEVICE float gelu_tanh(float x) {
    const float near = clamp(x, -20.0f, 20.0f);
    return tanhf(0.79788456080286536f * (near + 0.044715f * near * near * near));
}

DEVICE float gelu_tanh_slope(float x) {
    const float near = clamp(x, -20.0f, 20.0f), t = gelu_tanh(x);
    const float inner = 0.79788456080286536f * (1.0f + 3.0f * 0.044715f * near * near);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
}

template <bool FAST> DEVICE float silu_slope(float x) {
    const float s = sigmoid<FAST>(x);
    return s * (1.0f + x * (1.0f - s));
}

DEVICE float mish_slope(float x) {
    const float t = tanhf(softplus(x));
    return t + x * (1.0f - t * t) * sigmoid<false>(x);
}

DEVICE float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }

#endif
