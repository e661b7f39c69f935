//! Numbers: series of measurements, and a seeded source of pauses.

/// What was measured, in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    sorted: Vec<f64>,
}

impl Series {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// In ascending order.
    pub(crate) fn values(&self) -> &[f64] {
        &self.sorted
    }

    /// The value below which that share of all lies (nearest rank); `NaN` of nothing.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = (self.sorted.len() as f64 * share).ceil() as usize;
        self.sorted.get(rank.clamp(1, self.sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }
}

/// Milliseconds from one boot-time moment to a later one; negative when it is not later.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn millis(from: u64, to: u64) -> f64 {
    if to < from { -millis(to, from) } else { (to - from) as f64 / 1e6 }
}

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 … `bound` − 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
