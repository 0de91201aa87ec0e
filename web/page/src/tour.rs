//! "One pixel, one word": eight steps from a class name and a pixel to that pixel's class, each
//! with a picture, a sentence and the formula with the numbers that the model has for this pixel;
//! and three questions whose answers the page checks.

use leptos::prelude::*;
use mmovseg_protocol::{Modality, sigmoid};

use crate::gestures::centre;
use crate::icons::{Icon, icon};
use crate::probe;
use crate::stages::HeatCanvas;
use crate::state::{Explanation, Maps, State};

/// The pixel that the tour begins with where none is pinned, as parts of the tile.
const FIRST_PLACE: [f64; 2] = [0.5, 0.5];

/// One step: name in the strip, sentence, the stage whose map is its picture.
struct Step {
    name: &'static str,
    sentence: &'static str,
    map: &'static str,
}

/// The steps, in the order of the network.
const STEPS: [Step; 8] = [
    Step {
        name: "Words",
        sentence: "The text tower turns each class name into a vector of length 1. Names with close meanings have a large cosine, and are easily confused.",
        map: "",
    },
    Step {
        name: "Patch",
        sentence: "The image towers cut the tile into patches and turn each into a vector too. This is the patch of your pixel.",
        map: "",
    },
    Step {
        name: "Cosine",
        sentence: "Every patch vector is compared with every word vector: one map per word from CLIP, and one from the two DINO towers.",
        map: "clip-similarity",
    },
    Step {
        name: "7 × 7 fusion",
        sentence: "Convolutions over 7 × 7 patches join both cosine maps into a cost volume with many channels per word. Shown is their mean.",
        map: "fused-volume",
    },
    Step {
        name: "Windows",
        sentence: "Within windows of neighbouring patches, attention lets each patch use what its neighbours are.",
        map: "windows-1",
    },
    Step {
        name: "Classes",
        sentence: "At each patch the words see one another: attention across classes settles rivals such as “city” and “road”.",
        map: "layer-1",
    },
    Step {
        name: "Decoder",
        sentence: "Two stages double the resolution, with fine features of the tiles as guidance, so that edges follow the ground.",
        map: "decoder-2",
    },
    Step {
        name: "Sigmoid",
        sentence: "The logit of each word becomes a probability. The pixel gets the word with the highest one.",
        map: "probability",
    },
];

/// The button that begins.
#[component]
pub fn StartTour(state: State) -> impl IntoView {
    view! {
        <button type="button" class="quiet" data-testid="tour-start"
            title="Follow one pixel through the network, in eight steps"
            on:click=move |_| go(state, 0)>{icon(Icon::Route)}"Tour"</button>
    }
}

/// Shows a step; pins a pixel where none is.
pub fn go(state: State, step: usize) {
    let look = state.look;
    if !look.pinned.get_untracked() {
        let middle = state.tiles.with_untracked(|tiles| {
            tiles.as_ref().map(|tiles| {
                [
                    (FIRST_PLACE[0] * f64::from(tiles.shown_width_px)) as u32,
                    (FIRST_PLACE[1] * f64::from(tiles.shown_height_px)) as u32,
                ]
            })
        });
        if let Some(pixel) = middle {
            look.cursor.set(Some(pixel));
            look.pinned.set(true);
        }
    }
    state.tour.set(Some(step.min(STEPS.len() - 1)));
}

/// The tour, while it is on: the strip of the network, the step, the questions.
#[component]
pub fn Tour(state: State) -> impl IntoView {
    let tour = state.tour;
    let strip = STEPS
        .iter()
        .enumerate()
        .map(|(index, step)| {
            view! {
                <button type="button" data-testid="tour-step"
                    aria-current=move || (tour.get() == Some(index)).then_some("step")
                    on:click=move |_| go(state, index)>{format!("{}. {}", index + 1, step.name)}</button>
            }
        })
        .collect_view();
    let end = move |_| {
        tour.set(None);
        state.status.set("The tour is over.".into());
    };
    let is_off = move || tour.get().is_none();
    view! {
        <div class="strip" hidden=is_off>
                <div class="steps" role="group" aria-label="The network, step by step">{strip}</div>
                <button type="button" data-testid="tour-back" disabled=move || tour.get() == Some(0)
                    on:click=move |_| go(state, tour.get_untracked().unwrap_or(0).saturating_sub(1))>"Back"</button>
                <button type="button" class="primary" data-testid="tour-next"
                    disabled=move || tour.get() == Some(STEPS.len() - 1)
                    on:click=move |_| go(state, tour.get_untracked().map_or(0, |step| step + 1))>"Next"</button>
                <button type="button" class="quiet" data-testid="tour-end" aria-label="End the tour" on:click=end>
                    {icon(Icon::Cross)}
                </button>
            </div>
        <section class="card tour" data-testid="tour" hidden=is_off aria-label="Tour: one pixel, one word"
            data-step=move || tour.get().map(|step| (step + 1).to_string())>
            {move || tour.get().and_then(|step| STEPS.get(step).map(|texts| one(state, step, texts)))}
            <Questions state />
        </section>
    }
}

fn one(state: State, step: usize, texts: &'static Step) -> impl IntoView + use<> {
    let word = move || word(state);
    let map = Signal::derive_local(move || {
        state
            .panels
            .explained
            .with(|found| find(found.as_ref()?, texts.map).cloned())
    });
    let class = Memo::new(move |_| {
        state
            .panels
            .explained
            .with(|found| {
                let classes = &found.as_ref()?.classes;
                classes
                    .iter()
                    .position(|name| Some(name) == word().as_ref())
            })
            .unwrap_or(0)
    });
    let pixel = move || {
        let [x, y] = state.look.cursor.get()?;
        Some(format!("Pixel: column {x}, row {y}. "))
    };
    let classes = move || {
        state.classes.get().into_iter().map(|name| {
            let value = name.clone();
            view! { <option value=name.clone() selected=move || word() == Some(value.clone())>{name.clone()}</option> }
        }).collect_view()
    };
    let has_map = !texts.map.is_empty();
    view! {
        <h2 class="sr-only">{format!("{} of {}: {}", step + 1, STEPS.len(), texts.name)}</h2>
        <div class="tour-body">
            {has_map.then(|| view! {
                <div class="tour-picture"><HeatCanvas map class state /></div>
            })}
            <div class="about">
                <p>{texts.sentence}</p>
                <p class="fine">
                    {pixel}
                    "Click a picture for another one. Word: "
                    <select data-testid="tour-word" aria-label="Word" on:change=move |event| {
                        state.panels.class.set(Some(event_target_value(&event)));
                    }>{classes}</select>
                </p>
                <pre class="formula" tabindex="0" data-testid="tour-formula">{move || formula(state, step)}</pre>
            </div>
        </div>
    }
}

/// The word that the tour follows: the chosen one, else the class of the pinned pixel, else the
/// first.
fn word(state: State) -> Option<String> {
    let classes = state.classes.get();
    let chosen = state
        .panels
        .class
        .get()
        .filter(|chosen| classes.contains(chosen));
    let under = || {
        let [x, y] = state.look.cursor.get()?;
        state.outcome.with(|outcome| {
            let outcome = outcome.as_ref()?;
            let at = y as usize * outcome.report.width_px as usize + x as usize;
            let label = outcome.labels.get(at)?;
            Some(
                outcome
                    .report
                    .classes
                    .get(usize::from(*label))?
                    .name
                    .clone(),
            )
        })
    };
    chosen.or_else(under).or_else(|| classes.first().cloned())
}

fn find<'a>(explanation: &'a Explanation, name: &str) -> Option<&'a Maps> {
    explanation.stages.iter().find(|map| map.name == name)
}

/// Row and column of the value of a map under a position in the tile.
fn cell(map: &Maps, [x, y]: [f64; 2]) -> [usize; 2] {
    let [rows, columns] = map.side_px.map(|side| side.max(1) as usize);
    let along = |at: f64, count: usize| ((at * count as f64) as usize).min(count - 1);
    [along(y, rows), along(x, columns)]
}

/// The value of a class under a position.
fn value(map: &Maps, class: usize, at: [f64; 2]) -> Option<f32> {
    let [rows, columns] = map.side_px.map(|side| side as usize);
    let [row, column] = cell(map, at);
    map.values
        .get((class * rows + row) * columns + column)
        .copied()
}

/// The formula of a step with this pixel's numbers.
fn formula(state: State, step: usize) -> String {
    const WAITING: &str = "Waiting for the model…";
    // `centre` reads the tiles untracked, and a link names a pixel before there are any.
    state.tiles.track();
    let (Some(word), Some(pixel)) = (word(state), state.look.cursor.get()) else {
        return "Click a pixel on any picture.".into();
    };
    let Some(at) = centre(state, pixel) else {
        return WAITING.into();
    };
    if step == 0 {
        return state.panels.vocabulary.with(|table| {
            let Some(table) = table else {
                return WAITING.to_owned();
            };
            let Some(own) = table.classes.iter().position(|name| *name == word) else {
                return WAITING.to_owned();
            };
            let count = table.classes.len();
            let lines = table
                .classes
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != own);
            lines
                .map(|(other, name)| {
                    format!(
                        "text({word}) · text({name}) = {:.3}",
                        table.cosines[own * count + other]
                    )
                })
                .collect::<Vec<_>>()
                .join("\n")
        });
    }
    state.panels.explained.with(|found| {
        let Some(found) = found else { return WAITING.to_owned() };
        let Some(class) = found.classes.iter().position(|name| *name == word) else {
            return WAITING.to_owned();
        };
        let read = |name: &str, class: usize| find(found, name).and_then(|map| value(map, class, at));
        let number = |name: &str| read(name, class).map_or("–".to_owned(), |v| format!("{v:.4}"));
        match step {
            1 => patch_words(state, found, at),
            2 => format!(
                "cos = (patch · text({word})) / (|patch| |text|)\nCLIP: {}    DINO: {}",
                number("clip-similarity"),
                number("dino-similarity"),
            ),
            3 => format!(
                "volume = σ(conv7×7[a, d]) + a,  a = σ(conv7×7(CLIP cosines)),  d = σ(conv7×7(DINO cosines))\n\
                 CLIP {} and DINO {} here, with their 48 neighbours each, give {}",
                number("clip-similarity"),
                number("dino-similarity"),
                number("fused-volume"),
            ),
            4 => format!(
                "x ← x + softmax(q kᵀ / √d) v over the window,  x ← x + MLP(x)\n{} → {}",
                number("fused-volume"),
                number("windows-1"),
            ),
            5 => {
                let mut lines = vec!["x ← x + attention(q, k, v) over the classes of this patch".to_owned()];
                for (other, name) in found.classes.iter().enumerate() {
                    if let (Some(before), Some(after)) = (read("windows-1", other), read("layer-1", other)) {
                        lines.push(format!("{name}: {before:.4} → {after:.4}"));
                    }
                }
                lines.join("\n")
            }
            6 => format!(
                "patch {} → twice the resolution {} → four times {} (channels weighed by what they add to the logit)",
                number("layer-1"),
                number("decoder-1"),
                number("decoder-2"),
            ),
            _ => sigmoid_words(found, at, &word),
        }
    })
}

/// The patch of the pixel: its place, its pixels, their mean colours.
fn patch_words(state: State, found: &Explanation, at: [f64; 2]) -> String {
    let Some(map) = find(found, "clip-similarity") else {
        return String::new();
    };
    let [rows, columns] = map.side_px;
    let [row, column] = cell(map, at);
    let mean = |picture: &web_sys::ImageData| {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let data = picture.data();
        let [left, right] = [column, column + 1].map(|c| c * width / columns as usize);
        let [top, bottom] = [row, row + 1].map(|r| r * height / rows as usize);
        let (mut sum, mut count) = ([0u64; 3], 0u64);
        for y in top..bottom {
            for x in left..right {
                for (channel, sum) in sum.iter_mut().enumerate() {
                    *sum += u64::from(data[4 * (y * width + x) + channel]);
                }
                count += 1;
            }
        }
        sum.map(|sum| sum / count.max(1))
    };
    let rgb = state.rgb.with(|picture| picture.as_ref().map(mean));
    let sar = state.sar.with(|picture| picture.as_ref().map(mean));
    format!(
        "patch: row {} of {rows}, column {} of {columns}\nmean optical RGB {:?}, mean SAR {}",
        row + 1,
        column + 1,
        rgb.unwrap_or_default(),
        sar.unwrap_or_default()[0],
    )
}

/// Logit and probability of each class at the pixel, highest first.
fn sigmoid_words(found: &Explanation, at: [f64; 2], word: &str) -> String {
    let Some(map) = find(found, "probability") else {
        return String::new();
    };
    let mut rows: Vec<(String, f32)> = found
        .classes
        .iter()
        .enumerate()
        .filter_map(|(class, name)| Some((name.clone(), value(map, class, at)?)))
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    let winner = rows.first().map_or(String::new(), |(name, _)| name.clone());
    let logit = |p: f32| (p / (1.0 - p).max(f32::MIN_POSITIVE)).ln();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|(name, p)| {
            let logit = logit(*p);
            let mark = if name == word { "  ← your word" } else { "" };
            format!(
                "{name}: σ({logit:.2}) = 1 / (1 + e^{:.2}) = {:.3}{mark}",
                -logit,
                sigmoid(logit)
            )
        })
        .collect();
    lines.push(format!("highest here: {winner}"));
    lines.join("\n")
}

/// A question: what to do, and whether it is done.
struct Question {
    key: &'static str,
    text: &'static str,
    is_solved: fn(State, f64) -> bool,
}

/// Part of its first share that a class may keep and still count as vanished.
const VANISHED: f64 = 0.25;

const QUESTIONS: [Question; 3] = [
    Question {
        key: "road",
        text: "Make “road” vanish by adding words, and keep it in the list: its share has to fall below a quarter.",
        is_solved: |state, first_share| {
            let share = share_of(state, "road");
            let is_added = state
                .classes
                .with(|classes| classes.len() > state.suggested.with_value(Vec::len));
            is_added && share.is_some_and(|share| share < VANISHED * first_share)
        },
    },
    Question {
        key: "margin",
        text: "Pin a pixel that the model is not sure of: a margin below 5 %.",
        is_solved: |state, _| {
            let Some([x, y]) = state.look.cursor.get().filter(|_| state.look.pinned.get()) else {
                return false;
            };
            state.outcome.with(|outcome| {
                outcome
                    .as_ref()
                    .and_then(|outcome| probe::read(&outcome.report, &outcome.logits, x, y))
                    .is_some_and(|reading| reading.margin < 0.05)
            })
        },
    },
    Question {
        key: "cloud",
        text: "Lay a thick cloud over the tile, and choose the sensors whose mask does not change at all.",
        is_solved: |state, _| {
            let cloud = state.cloud.get();
            cloud.opacity > 0.9
                && cloud.cover > 0.8
                && state.modality.get() == Modality::Sar
                && state.is_current()
        },
    },
];

/// The share of a class in the last mask.
fn share_of(state: State, class: &str) -> Option<f64> {
    state.outcome.with(|outcome| {
        let classes = &outcome.as_ref()?.report.classes;
        Some(classes.iter().find(|found| found.name == class)?.share)
    })
}

#[component]
fn Questions(state: State) -> impl IntoView {
    // The share of "road" in the first mask with the suggested classes alone.
    let first_share = RwSignal::new(None::<f64>);
    Effect::new(move || {
        let is_plain = state
            .classes
            .with(|classes| state.suggested.with_value(|list| classes == list));
        if is_plain && let Some(share) = share_of(state, "road") {
            first_share.set(Some(share));
        }
    });
    let items = QUESTIONS
        .iter()
        .map(|question| {
            // Solved once is solved for this visit.
            let solved = RwSignal::new(false);
            let is_on = move || state.tour.get().is_some();
            Effect::new(move || {
                if is_on() && !solved.get_untracked()
                    && (question.is_solved)(state, first_share.get().unwrap_or(0.0))
                {
                    solved.set(true);
                    state.status.set("That is right.".into());
                }
            });
            view! {
                <li data-testid="question-item" data-question=question.key data-solved=move || solved.get().to_string()>
                    <span aria-hidden="true">{move || if solved.get() { "✓ " } else { "○ " }}</span>
                    {question.text}
                    {move || solved.get().then_some(" Solved.")}
                </li>
            }
        })
        .collect_view();
    view! {
        <details class="questions">
            <summary>"Three questions, checked by the page"</summary>
            <ol class="timings">{items}</ol>
        </details>
    }
}

/// The step that an address names, from 1 there and from 0 here.
pub fn from_address(text: &str) -> Option<usize> {
    let step = text.parse::<usize>().ok()?;
    (1..=STEPS.len()).contains(&step).then(|| step - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn values_are_read_from_the_cell_of_the_pixel() {
        let map = Maps {
            name: "x".into(),
            side_px: [2, 3],
            values: Arc::new((0..12).map(|i| i as f32).collect()),
        };
        assert_eq!(value(&map, 0, [0.0, 0.0]), Some(0.0));
        assert_eq!(value(&map, 1, [0.99, 0.99]), Some(11.0));
        assert_eq!(value(&map, 0, [0.4, 0.6]), Some(4.0));
        assert_eq!(value(&map, 2, [0.0, 0.0]), None);
    }

    #[test]
    fn steps_in_addresses_count_from_one() {
        assert_eq!(from_address("1"), Some(0));
        assert_eq!(from_address("8"), Some(7));
        assert_eq!(
            [from_address("0"), from_address("9"), from_address("x")],
            [None; 3]
        );
    }
}
