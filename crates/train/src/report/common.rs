//! What the parts of the report share: a pass over a pair, the largest class of a mask, cells of
//! tables.

use mmovseg_engine::{
    EngineError, HashedPair, Modality, Preprocess, SegmentRequest, Segmentation, Session, Tiling,
};

/// One pass over the whole pair.
pub(super) async fn segment(
    session: &mut Session,
    pair: &HashedPair,
    classes: &[&str],
    modality: Modality,
) -> Result<Segmentation, EngineError> {
    let request = SegmentRequest {
        classes: classes.iter().map(|&name| name.to_owned()).collect(),
        modality,
        preprocess: Preprocess::Aligned,
        tiling: Tiling::Whole,
        rule: None,
    };
    session.segment(pair, &request, &mut |_| {}).await
}

/// The labels of one pass over the whole pair.
pub(super) async fn labels(
    session: &mut Session,
    pair: &HashedPair,
    classes: &[&str],
    modality: Modality,
) -> Result<Vec<u8>, EngineError> {
    Ok(segment(session, pair, classes, modality).await?.labels)
}

/// The class with most pixels, the first of equals.
pub(super) fn largest(labels: &[u8], classes: usize) -> usize {
    let mut counts = vec![0usize; classes];
    for &label in labels {
        if let Some(count) = counts.get_mut(usize::from(label)) {
            *count += 1;
        }
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    counts.iter().position(|&count| count == most).unwrap_or(0)
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

pub(super) fn table(lines: &mut Vec<String>, head: &[String]) {
    lines.push(format!("| {} |", head.join(" | ")));
    lines.push(format!("|{}", "---|".repeat(head.len())));
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn the_largest_class_is_the_first_of_equals() {
        assert_eq!(largest(&[2, 1, 2, 1, 0, 255], 3), 1);
        assert_eq!(largest(&[], 3), 0);
    }
}
