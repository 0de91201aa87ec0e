//! Matrix products over borrowed memory with any strides.

/// A matrix inside a slice: element `(r, c)` is `data[start + r·step[0] + c·step[1]]`.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub start: usize,
    pub shape: [usize; 2],
    pub step: [usize; 2],
}

impl Place {
    /// A row-major matrix at the start of a slice.
    pub fn rows(rows: usize, columns: usize) -> Self {
        Self {
            start: 0,
            shape: [rows, columns],
            step: [columns, 1],
        }
    }

    /// Rows and columns exchanged, over the same memory.
    pub fn transposed(self) -> Self {
        Self {
            start: self.start,
            shape: [self.shape[1], self.shape[0]],
            step: [self.step[1], self.step[0]],
        }
    }

    /// Rows `first .. first + count`.
    pub fn cut(self, first: usize, count: usize) -> Self {
        debug_assert!(first + count <= self.shape[0]);
        Self {
            start: self.start + first * self.step[0],
            shape: [count, self.shape[1]],
            step: self.step,
        }
    }

    /// The matrix must be inside `len` elements, or the product below would leave its memory.
    fn check(&self, len: usize) {
        if self.shape.contains(&0) {
            return;
        }
        let last =
            self.start + (self.shape[0] - 1) * self.step[0] + (self.shape[1] - 1) * self.step[1];
        assert!(last < len, "a matrix ends at {last} of {len} elements");
    }
}

/// `into = [into +] scale · a · b`.
///
/// # Panics
/// When shapes do not fit together or a matrix leaves its slice: a fault of the caller.
pub(crate) fn product(
    (into, at): (&mut [f32], Place),
    add: bool,
    (a, a_at): (&[f32], Place),
    (b, b_at): (&[f32], Place),
    scale: f32,
) {
    let [m, n] = at.shape;
    let k = a_at.shape[1];
    assert_eq!(
        (a_at.shape[0], b_at.shape),
        (m, [k, n]),
        "shapes of a product"
    );
    at.check(into.len());
    a_at.check(a.len());
    b_at.check(b.len());
    let step = |place: Place| (place.step[1] as isize, place.step[0] as isize);
    let ((c_cs, c_rs), (a_cs, a_rs), (b_cs, b_rs)) = (step(at), step(a_at), step(b_at));
    // Results that overlap themselves have no meaning; a row or column of one element has no step.
    assert!(
        m < 2 || n < 2 || (at.step[0] != 0 && at.step[1] != 0),
        "a product into overlapping places"
    );
    if m == 0 || n == 0 {
        return;
    }
    #[expect(
        unsafe_code,
        reason = "the kernel takes pointers; all three matrices were just checked to lie inside their slices"
    )]
    // SAFETY: `check` holds every element of the three strided matrices inside its slice, strides are
    // not negative, and `into` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            into.as_mut_ptr().add(at.start),
            c_cs,
            c_rs,
            add,
            a.as_ptr().add(a_at.start),
            a_cs,
            a_rs,
            b.as_ptr().add(b_at.start),
            b_cs,
            b_rs,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
