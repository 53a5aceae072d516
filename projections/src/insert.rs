//! Many rows a statement, in few sizes: every size is a prepared statement, and servers keep only so
//! many of those.

/// Rows of one statement; with at most 20 columns far below the 65,535 placeholders that one takes.
const SIZES: [usize; 4] = [250, 50, 10, 1];

/// Cuts rows into chunks, each of one of the [`SIZES`], in order.
pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// `insert`, then `row` as often as there are rows, then `tail`.
pub(crate) fn statement(insert: &str, row: &str, rows: usize, tail: &str) -> String {
    let rows = vec![row; rows].join(", ");
    format!("{insert} VALUES {rows} {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_of_few_sizes_and_in_order() {
        let rows: Vec<usize> = (0..563).collect();
        let sizes: Vec<usize> = chunks(&rows).map(<[usize]>::len).collect();
        assert_eq!(sizes, [250, 250, 50, 10, 1, 1, 1]);
        assert_eq!(chunks(&rows).collect::<Vec<_>>().concat(), rows);
        assert_eq!(chunks::<usize>(&[]).count(), 0);
    }
}
