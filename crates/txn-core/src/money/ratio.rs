//! Exact `value × factor ÷ divisor` where the product does not fit 128 bits. The one place that needs more than `i128`.

/// The quotient and the rest of `value * factor / divisor`, exact.
///
/// `None` if the quotient exceeds 128 bits or `divisor` is 0. Also `None`, rather than a wrong answer, if `factor` or `divisor` need
/// more than 119 bits and the product does not fit; callers bring at most 96 bits (a decimal's mantissa) and 94 (10^28).
pub(super) fn mul_div(value: u128, factor: u128, divisor: u128) -> Option<(u128, u128)> {
    if let Some(product) = value.checked_mul(factor) {
        return Some((product.checked_div(divisor)?, product.checked_rem(divisor)?));
    }
    // Long division, one byte of `value` at a time: the rest is below `divisor`, so that the step fits 128 bits.
    let (mut quotient, mut rest) = (0u128, 0u128);
    for byte in value.to_be_bytes() {
        let step = rest.checked_mul(256)?.checked_add(factor.checked_mul(u128::from(byte))?)?;
        quotient = quotient.checked_mul(256)?.checked_add(step.checked_div(divisor)?)?;
        rest = step.checked_rem(divisor)?;
    }
    Some((quotient, rest))
}

/// `magnitude` with a sign, if it fits.
pub(super) fn signed(negative: bool, magnitude: u128) -> Option<i128> {
    if negative { 0i128.checked_sub_unsigned(magnitude) } else { 0i128.checked_add_unsigned(magnitude) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by doubling, one bit at a time.
    fn naive(value: u128, factor: u128, divisor: u128) -> Option<(u128, u128)> {
        let (mut quotient, mut rest) = (0u128, 0u128);
        for bit in (0..128u32).rev() {
            quotient = quotient.checked_mul(2)?;
            rest = rest.checked_mul(2)?;
            if value.checked_shr(bit)? & 1 == 1 {
                rest = rest.checked_add(factor)?;
            }
            quotient = quotient.checked_add(rest.checked_div(divisor)?)?;
            rest = rest.checked_rem(divisor)?;
        }
        Some((quotient, rest))
    }

    proptest! {
        #[test]
        fn agrees_with_bitwise_division(value: u128, shift in 0u32..128, factor in 0u128..1 << 96, divisor in 1u128..1 << 96) {
            let value = value >> shift;
            prop_assert_eq!(mul_div(value, factor, divisor), naive(value, factor, divisor));
        }
    }

    #[test]
    fn the_edges_are_answers_or_none() {
        assert_eq!(mul_div(u128::MAX, 1, 1), Some((u128::MAX, 0)));
        assert_eq!(mul_div(u128::MAX, 1 << 96, 1 << 96), Some((u128::MAX, 0)));
        assert_eq!(mul_div(u128::MAX, 2, 1), None);
        assert_eq!(mul_div(1, 1, 0), None);
        assert_eq!(mul_div(u128::MAX, 2, 0), None);
        assert_eq!(signed(true, i128::MIN.unsigned_abs()), Some(i128::MIN));
        assert_eq!(signed(false, i128::MIN.unsigned_abs()), None);
        assert_eq!(signed(true, u128::MAX), None);
    }
}
