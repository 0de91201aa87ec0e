//! The page's icons: 16 × 16 drawings in the colour of the text around them. Hidden from screen
//! readers, since the control around an icon has a name.

use leptos::prelude::*;

/// Which icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// Enlarge, add.
    Plus,
    /// Make smaller.
    Minus,
    /// Remove, close.
    Cross,
    /// Something new of the same kind.
    Dice,
    /// A file to open.
    File,
    /// Exchange two things.
    Swap,
    /// Stop.
    Square,
    /// Begin.
    Play,
    /// Copy an address.
    Link,
    /// A guided tour.
    Route,
}

impl Icon {
    /// Lines, as an SVG path.
    fn path(self) -> &'static str {
        match self {
            Self::Plus => "M8 3v10M3 8h10",
            Self::Minus => "M3 8h10",
            Self::Cross => "M4 4l8 8M12 4l-8 8",
            Self::Dice => "M3 3h10v10H3zM6 6h.01M10 6h.01M8 8h.01M6 10h.01M10 10h.01",
            Self::File => "M4 2h5l3 3v9H4zM9 2v3h3M8 7v5M6 9l2-2 2 2",
            Self::Swap => "M3 6h9l-2.5-2.5M13 10H4l2.5 2.5",
            Self::Square => "M4 4h8v8H4z",
            Self::Play => "M5 3l8 5-8 5z",
            Self::Link => "M7 9l2-2M6 6L4 8a2.8 2.8 0 0 0 4 4l2-2M10 10l2-2a2.8 2.8 0 0 0-4-4L6 6",
            Self::Route => {
                "M4 12a1.5 1.5 0 1 0 .01 0M12 4a1.5 1.5 0 1 0 .01 0M5.5 12H9a2 2 0 0 0 0-4H7a2 2 0 0 1 0-4h3.5"
            }
        }
    }
}

/// An icon.
pub fn icon(icon: Icon) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
            <path d=icon.path() fill="none" stroke="currentColor" stroke-width="1.5"
                stroke-linecap="round" stroke-linejoin="round" />
        </svg>
    }
}
