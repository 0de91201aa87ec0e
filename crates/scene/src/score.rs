//! Comparing a prediction with a generated scene's ground truth.

use crate::classes::CLASSES;

/// Intersection over union of each requested class with the ground truth, 0 to 1.
///
/// A class name stands for the scene class of that name or with that synonym; two names for one
/// scene class are counted as one. Pixels whose true class was not asked for are left out, as no
/// label could be right there. `None` for a name that means no scene class, and for a class neither
/// true nor predicted anywhere.
///
/// `labels` and `truth` are `[h, w]`; labels index `classes`, truth indexes `CLASSES`.
#[must_use]
pub fn ious(classes: &[String], labels: &[u8], truth: &[u8]) -> Vec<Option<f64>> {
    let meaning: Vec<Option<usize>> = classes.iter().map(|name| scene_class(name)).collect();
    let mut both = vec![0_u64; CLASSES.len()];
    let mut either = vec![0_u64; CLASSES.len()];
    for (&label, &truth) in labels.iter().zip(truth) {
        let truth = usize::from(truth);
        if !meaning.contains(&Some(truth)) {
            continue;
        }
        let said = meaning.get(usize::from(label)).copied().flatten();
        either[truth] += 1;
        match said {
            Some(said) if said == truth => both[truth] += 1,
            Some(said) => either[said] += 1,
            None => {}
        }
    }
    meaning
        .into_iter()
        .map(|class| {
            class
                .filter(|&c| either[c] > 0)
                .map(|c| both[c] as f64 / either[c] as f64)
        })
        .collect()
}

/// The scene class that a name means.
fn scene_class(name: &str) -> Option<usize> {
    let name = name.trim().to_lowercase();
    CLASSES
        .iter()
        .position(|class| class.name == name || class.synonyms.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn overlap_is_counted_per_class() {
        // Truth: water, water, forest, forest; said: water, forest, forest, forest.
        let found = ious(&names(&["water", "forest"]), &[0, 1, 1, 1], &[0, 0, 1, 1]);
        assert_eq!(found, [Some(0.5), Some(2.0 / 3.0)]);
    }

    #[test]
    fn synonyms_count_as_their_class_and_unknown_names_have_no_score() {
        let found = ious(
            &names(&["Lake ", "woodland", "moon"]),
            &[0, 1, 2],
            &[0, 1, 1],
        );
        assert_eq!(found, [Some(1.0), Some(0.5), None]);
        let twice = ious(&names(&["water", "lake"]), &[0, 1], &[0, 0]);
        assert_eq!(twice, [Some(1.0), Some(1.0)]);
    }

    #[test]
    fn pixels_of_classes_not_asked_for_are_left_out() {
        let found = ious(&names(&["water", "road"]), &[0, 0], &[0, 2]);
        assert_eq!(found, [Some(1.0), None]);
    }
}
