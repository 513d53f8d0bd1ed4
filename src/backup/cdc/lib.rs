//! Where files are cut into chunks: the fingerprints of Rabin over a sliding window.
//! `rustic_core` makes such a window for each file.
//!
//! It stands in for the crate `rustic_cdc`, which takes a division of polynomials for each
//! byte of the window and each entry of a table. Here eight entries are made and the others
//! are their sums. What `rustic_core` does not use is left out; the cuts are the same.
//!
//! Source: M. O. Rabin, "Fingerprinting by Random Polynomials", 1981.

/// Bits are the coefficients of a polynomial over the field of two elements.
pub type Polynom64 = u64;

/// What is asked of polynomials.
pub trait Polynom {
    /// The power of the leading term; -1 for zero.
    fn degree(&self) -> i32;

    /// What a division by `divisor`, which is not zero, leaves.
    #[must_use]
    fn modulo(&self, divisor: &Self) -> Self;
}

impl Polynom for Polynom64 {
    fn degree(&self) -> i32 {
        63 - self.leading_zeros().cast_signed()
    }

    fn modulo(&self, divisor: &Self) -> Self {
        let mut rest = *self;
        while rest.degree() >= divisor.degree() {
            rest ^= divisor << (rest.degree() - divisor.degree());
        }
        rest
    }
}

/// A fingerprint of the bytes that came last.
pub trait RollingHash64 {
    /// Forgets all bytes and takes as many as the window has, less one. Returns how many
    /// there were.
    fn reset_and_prefill_window<I>(&mut self, bytes: &mut I) -> usize
    where
        I: Iterator<Item = u8>;

    /// Takes a byte. The oldest leaves the window.
    fn slide(&mut self, byte: u8);
}

/// The window as a polynomial, the oldest byte first, modulo another one.
#[derive(Clone, Debug)]
pub struct Rabin64 {
    window: Vec<u8>,
    /// Where the oldest byte is.
    oldest: usize,
    /// Right shift that leaves the bits which the next byte pushes out of the modulus.
    overflow: u32,
    /// What a byte adds to the fingerprint while it is the oldest.
    leaving: [Polynom64; 256],
    /// What such bits are to be replaced by, and the bits themselves.
    folded: [Polynom64; 256],
    /// The fingerprint.
    pub hash: Polynom64,
}

impl Rabin64 {
    /// A window of 2^`window_bits` zeros. `modulus` has a degree of 8 to 56.
    #[must_use]
    pub fn new_with_polynom(window_bits: u32, modulus: &Polynom64) -> Self {
        let size = 1 << window_bits;
        let degree = modulus.degree().cast_unsigned();
        let oldest = (1..size).fold(1, |power, _| {
            (0..8).fold(power, |p, _| times_x(p, *modulus, degree))
        });
        let leaving = sums(oldest, |power| times_x(power, *modulus, degree));
        let top = 1_u64 << degree;
        let folded = sums(top ^ *modulus, |power| times_x(power, *modulus, degree));
        let folded = std::array::from_fn(|bits| folded[bits] | ((bits as u64) << degree));
        Self {
            window: vec![0; size],
            oldest: 0,
            overflow: degree - 8,
            leaving,
            folded,
            hash: 0,
        }
    }
}

impl RollingHash64 for Rabin64 {
    fn reset_and_prefill_window<I>(&mut self, bytes: &mut I) -> usize
    where
        I: Iterator<Item = u8>,
    {
        self.window.fill(0);
        self.oldest = 0;
        self.hash = 0;
        let room = self.window.len() - 1;
        let mut taken = 0;
        for byte in bytes.take(room) {
            self.slide(byte);
            taken += 1;
        }
        taken
    }

    #[inline]
    fn slide(&mut self, byte: u8) {
        let oldest = std::mem::replace(&mut self.window[self.oldest], byte);
        self.hash ^= self.leaving[usize::from(oldest)];
        let bits = (self.hash >> self.overflow) & 0xff;
        self.hash = ((self.hash << 8) | Polynom64::from(byte)) ^ self.folded[bits as usize];
        self.oldest = (self.oldest + 1) & (self.window.len() - 1);
    }
}

/// `power`, which is smaller than the modulus, times x.
fn times_x(power: Polynom64, modulus: Polynom64, degree: u32) -> Polynom64 {
    let product = power << 1;
    if product >> degree == 0 {
        product
    } else {
        product ^ modulus
    }
}

/// The sums of `first`, `next(first)`, `next(next(first))`, as the bits of the index say.
fn sums(first: Polynom64, next: impl Fn(Polynom64) -> Polynom64) -> [Polynom64; 256] {
    let mut table = [0; 256];
    let mut term = first;
    for bit in 0..8 {
        for low in 0..1_usize << bit {
            table[(1 << bit) | low] = table[low] ^ term;
        }
        term = next(term);
    }
    table
}
