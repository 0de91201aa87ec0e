//! Reads of tensors off the device.
//!
//! A read that wgpu has begun must run to its end: cubecl gives the staging buffer of a read that
//! is dropped back to its pool while the buffer is still mapped, and the next submission that uses
//! it fails validation. A run may be dropped at any `await`, so a dropped read is set aside here,
//! and the next read of the thread finishes it first.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use burn::tensor::{Tensor, TensorData};

type Read = Pin<Box<dyn Future<Output = Result<TensorData, String>>>>;

thread_local! {
    /// Reads of dropped runs.
    static UNFINISHED: RefCell<Vec<Read>> = const { RefCell::new(Vec::new()) };
}

/// Values of a tensor, in row-major order.
///
/// # Errors
/// When the device fails or the tensor holds no 32-bit floats; the text says why.
pub(crate) async fn read(flat: Tensor<1>) -> Result<Vec<f32>, String> {
    finish().await;
    let data = async { flat.into_data_async().await.map_err(|e| format!("{e:?}")) };
    let data = SetAside(Some(Box::pin(data))).await?;
    data.try_into_vec::<f32>()
        .map_err(|error| format!("{error:?}"))
}

/// Finishes the reads of dropped runs. Nobody asks for their results any more, and a device that
/// failed also fails the next read.
async fn finish() {
    while let Some(read) = UNFINISHED.with_borrow_mut(Vec::pop) {
        drop(SetAside(Some(read)).await);
    }
}

/// A read that is set aside when it is dropped unfinished.
struct SetAside(Option<Read>);

impl Future for SetAside {
    type Output = Result<TensorData, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(read) = &mut self.0 else {
            return Poll::Pending;
        };
        let polled = read.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        if let Some(read) = self.0.take() {
            // At the thread's end the list may be gone already, and with it the device's last user.
            let _ = UNFINISHED.try_with(|reads| reads.borrow_mut().push(read));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// A run that was dropped while a result was on its way gave its staging buffer back still
    /// mapped, and the next submission failed with "used in submit while pending map".
    #[test]
    fn a_read_dropped_on_its_way_is_finished_before_the_next() {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let read = poll_fn(move |_| {
            counted.set(counted.get() + 1);
            match counted.get() {
                1 | 2 => Poll::Pending,
                _ => Poll::Ready(Err("no result".into())),
            }
        });
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(SetAside(Some(Box::pin(read))));
        assert!(first.as_mut().poll(&mut context).is_pending());
        drop(first);
        // Dropped once more, while it is being finished.
        let mut second = Box::pin(finish());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(second);
        let mut third = Box::pin(finish());
        assert!(third.as_mut().poll(&mut context).is_ready());
        assert_eq!(polls.get(), 3);
        assert!(UNFINISHED.with_borrow(Vec::is_empty));
    }
}
