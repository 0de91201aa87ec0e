//! Trains the nano text tower: `train_text OUT WORDNET TEACHER [STEPS]`.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let path = |i: usize| std::path::PathBuf::from(&args[i]);
    let mut options = mmovseg_train::text::TextOptions::nano(path(1), path(2), path(3));
    if let Some(steps) = args.get(4) {
        options.steps = steps.parse().expect("a number of steps");
    }
    match mmovseg_train::text::train_text(&options) {
        Ok(report) => println!("{report:#?}"),
        Err(error) => eprintln!("{error}"),
    }
}
