//! Who gets how much of what is not enough for all.

/// Shares of `all`: nobody has more than it wants, and nobody less than another who has fewer wishes, but for one that does
/// not divide evenly. Those ones go to whoever comes first from the `turn`th on.
pub fn shares(all: u64, wanted: &[u64], turn: usize) -> Vec<u64> {
    let mut by_wish: Vec<usize> = (0..wanted.len()).collect();
    let rank = |at: usize| (at + wanted.len() - turn % wanted.len().max(1)) % wanted.len().max(1);
    by_wish.sort_by_key(|at| (wanted[*at], std::cmp::Reverse(rank(*at))));
    let mut shares = vec![0; wanted.len()];
    let mut rest = all;
    for (served, at) in by_wish.iter().enumerate() {
        let left = (wanted.len() - served) as u64;
        shares[*at] = wanted[*at].min(rest / left);
        rest -= shares[*at];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_starves_and_nobody_has_more_than_it_wants() {
        assert_eq!(shares(10, &[2, 3, 4], 0), [2, 3, 4]);
        assert_eq!(shares(9, &[1, 30, 30], 0), [1, 4, 4]);
        assert_eq!(shares(10, &[9, 9, 9], 0), [4, 3, 3]);
        assert_eq!(shares(10, &[9, 9, 9], 1), [3, 4, 3]);
        assert_eq!(shares(1, &[1, 1, 1], 2), [0, 0, 1]);
        assert_eq!(shares(1, &[1, 1, 1], 3), [1, 0, 0]);
        assert_eq!(shares(0, &[1], 0), [0]);
        assert!(shares(5, &[], 7).is_empty());
    }
}
