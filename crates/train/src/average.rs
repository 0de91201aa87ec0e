//! The running mean of the weights over the last steps of a stage: what a stage gives. Small
//! batches leave the weights themselves jumping around it.

use burn::module::Module;
use mmovseg_model::MmOvSeg;

use crate::TrainError;
use crate::run::{AVERAGE_FILE, Run};
use crate::tensors::{Tensors, values};

/// Steps between two looks at the weights.
pub(crate) const EVERY_STEPS: usize = 5;
/// Most looks over which the mean runs.
const MOST_LOOKS: usize = 80;

/// Looks over which the mean of a stage of so many steps runs, about: an eighth of the steps.
pub(crate) fn looks(steps: usize) -> usize {
    (steps / (8 * EVERY_STEPS)).clamp(1, MOST_LOOKS)
}

pub(crate) struct Average {
    values: Tensors,
    taken: usize,
    most: usize,
}

impl Average {
    /// From the run's last checkpoint, or the weights it begins with.
    pub fn open(run: &Run, steps: usize, model: &MmOvSeg) -> Result<Self, TrainError> {
        let path = run.folder().join(AVERAGE_FILE);
        let taken = run.first() / EVERY_STEPS;
        let begun = if taken > 0 {
            let kept = model
                .valid()
                .try_load_file(&path)
                .map_err(TrainError::content(&path))?;
            values(&kept)?
        } else {
            values(model)?
        };
        Ok(Self {
            values: begun,
            taken,
            most: looks(steps),
        })
    }

    /// Looks at the weights after a step, when it is time to.
    pub fn take(&mut self, step: usize, model: &MmOvSeg) -> Result<(), TrainError> {
        if !(step + 1).is_multiple_of(EVERY_STEPS) {
            return Ok(());
        }
        self.taken += 1;
        let share = 1.0 / self.taken.min(self.most) as f32;
        for (name, (_, now)) in values(model)? {
            if let Some((_, mean)) = self.values.get_mut(&name) {
                for (mean, now) in mean.iter_mut().zip(now) {
                    *mean += share * (now - *mean);
                }
            }
        }
        Ok(())
    }

    /// Writes the mean beside the run's checkpoint.
    pub fn save(&self, run: &Run, model: &MmOvSeg) -> Result<(), TrainError> {
        let path = run.folder().join(AVERAGE_FILE);
        model
            .valid()
            .load(&mut self.values.clone())
            .save_file(&path)
            .map_err(TrainError::content(&path))
    }
}
