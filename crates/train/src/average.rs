//! The running mean of the weights over the last steps of a stage: what a stage gives. Small batches
//! leave the weights themselves jumping around it.

use burn::module::Module;
use mmovseg_model::MmOvSeg;

use crate::TrainError;
use crate::run::{AVERAGE_FILE, Run};
use crate::tensors::{Tensors, values};

/// Steps between two looks at the weights.
pub(crate) const EVERY_STEPS: usize = 5;
/// Looks over which the mean runs, about: the first ones count in full.
pub(crate) const LOOKS: usize = 80;

pub(crate) struct Average {
    values: Tensors,
    looks: usize,
}

impl Average {
    /// From the run's last checkpoint, or the weights it begins with.
    pub fn open(run: &Run, model: &MmOvSeg) -> Result<Self, TrainError> {
        let path = run.folder().join(AVERAGE_FILE);
        let looks = run.first() / EVERY_STEPS;
        let begun = if looks > 0 {
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
            looks,
        })
    }

    /// Looks at the weights after a step, when it is time to.
    pub fn take(&mut self, step: usize, model: &MmOvSeg) -> Result<(), TrainError> {
        if !(step + 1).is_multiple_of(EVERY_STEPS) {
            return Ok(());
        }
        self.looks += 1;
        let share = 1.0 / self.looks.min(LOOKS) as f32;
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
