//! Expands a WGSL template: constants, conditions, unrolled loops and includes.
//!
//! A template is WGSL with these additions. A directive is alone on its line.
//!
//! | written | meaning |
//! |---|---|
//! | `${NAME}` | the value of a constant or of a loop variable |
//! | `${BINDING}` | 0 where it is first used, then 1, 2, …: the number of the next binding |
//! | `#if FLAG`, `#if !FLAG`, `#else`, `#endif` | keeps lines where the flag is set, or is not |
//! | `#for i in COUNT`, `#endfor` | repeats the lines for `${i}` from 0 to `COUNT − 1` |
//! | `#include NAME` | the lines of `NAME.wgsl` |
//!
//! Loops are unrolled here because the sums of a block must be registers: not every compiler of a
//! browser or driver unrolls a loop over an array and keeps the array in registers.

use std::fmt::{Display, Write};

use super::launch::{LANES, VALUES};
use crate::activation::Activation;

/// The files that a template may include.
const INCLUDES: [(&str, &str); 5] = [
    (
        "activation_function",
        include_str!("activation_function.wgsl"),
    ),
    ("block_products", include_str!("block_products.wgsl")),
    ("conv_write", include_str!("conv_write.wgsl")),
    ("each_value", include_str!("each_value.wgsl")),
    ("group_norm_value", include_str!("group_norm_value.wgsl")),
];

/// Constants and flags of a template.
pub(super) struct Template {
    constants: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
}

impl Template {
    /// With the constants `LANES` and `VALUES`.
    pub fn new() -> Self {
        let empty = Self {
            constants: Vec::new(),
            flags: Vec::new(),
        };
        empty.constant("LANES", LANES).constant("VALUES", VALUES)
    }

    /// Defines a constant.
    pub fn constant(mut self, name: &'static str, value: impl Display) -> Self {
        self.constants.push((name, value.to_string()));
        self
    }

    /// Sets a flag where `is_set`.
    pub fn flag(mut self, name: &'static str, is_set: bool) -> Self {
        if is_set {
            self.flags.push(name);
        }
        self
    }

    /// Sets the flags of `activation_function.wgsl`.
    pub fn activation(self, activation: Option<Activation>) -> Self {
        let name = activation.map(|activation| match activation {
            Activation::Gelu => "GELU",
            Activation::QuickGelu => "QUICK_GELU",
            Activation::Relu => "RELU",
            Activation::Sigmoid => "SIGMOID",
        });
        self.flag("ACTIVATION", name.is_some())
            .flag(name.unwrap_or_default(), name.is_some())
    }

    /// The expanded text of a template.
    ///
    /// # Panics
    /// When the template is malformed or uses an unknown name.
    pub fn expand(&self, template: &str) -> String {
        let mut expansion = Expansion {
            template: self,
            loops: Vec::new(),
            bindings: 0,
            text: String::new(),
        };
        expansion.lines(&template.lines().collect::<Vec<_>>());
        expansion.text
    }
}

/// The state of an expansion.
struct Expansion<'a> {
    template: &'a Template,
    /// Loop variables, the innermost last.
    loops: Vec<(&'a str, usize)>,
    /// Bindings so far.
    bindings: usize,
    text: String,
}

impl<'a> Expansion<'a> {
    fn lines(&mut self, lines: &[&'a str]) {
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let words: Vec<&str> = line.split_whitespace().collect();
            at = match words[..] {
                ["#for", variable, "in", count] => {
                    let [end, _] = ends(lines, at, "#for", "#endfor");
                    let count: usize = self
                        .value(count)
                        .and_then(|count| count.parse().ok())
                        .unwrap_or_else(|| panic!("`{line}`: no such count"));
                    for i in 0..count {
                        self.loops.push((variable, i));
                        self.lines(&lines[at + 1..end]);
                        self.loops.pop();
                    }
                    end
                }
                ["#if", flag] => {
                    let [end, middle] = ends(lines, at, "#if", "#endif");
                    let is_set = match flag.strip_prefix('!') {
                        Some(flag) => !self.template.flags.contains(&flag),
                        None => self.template.flags.contains(&flag),
                    };
                    if is_set {
                        self.lines(&lines[at + 1..middle]);
                    } else if middle < end {
                        self.lines(&lines[middle + 1..end]);
                    }
                    end
                }
                ["#include", name] => {
                    let (_, included) = INCLUDES
                        .iter()
                        .find(|(of, _)| *of == name)
                        .unwrap_or_else(|| panic!("`{line}`: no such file"));
                    self.lines(&included.lines().collect::<Vec<_>>());
                    at
                }
                _ => {
                    assert!(!line.starts_with('#'), "`{line}`: no such directive");
                    self.line(line);
                    at
                }
            } + 1;
        }
    }

    /// A line of WGSL.
    fn line(&mut self, line: &str) {
        let mut parts = line.split("${");
        self.text += parts.next().unwrap_or_default();
        for part in parts {
            let (name, rest) = part
                .split_once('}')
                .unwrap_or_else(|| panic!("`{line}`: a name without an end"));
            if name == "BINDING" {
                let _ = write!(self.text, "{}", self.bindings);
                self.bindings += 1;
            } else {
                self.text += &self
                    .value(name)
                    .unwrap_or_else(|| panic!("`{line}`: `{name}` is not defined"));
            }
            self.text += rest;
        }
        self.text.push('\n');
    }

    /// The value of a loop variable or constant.
    fn value(&self, name: &str) -> Option<String> {
        let variable = self.loops.iter().rev().find(|(of, _)| *of == name);
        let constants = &self.template.constants;
        match variable {
            Some((_, value)) => Some(value.to_string()),
            None => constants
                .iter()
                .find(|(of, _)| *of == name)
                .map(|(_, value)| value.clone()),
        }
    }
}

/// Of the block that begins at a line: the index of its last line, and of its `#else`, or else
/// again of its last line.
fn ends(lines: &[&str], start: usize, begins: &str, end: &str) -> [usize; 2] {
    let (mut depth, mut middle) = (0, None);
    for (at, line) in lines.iter().enumerate().skip(start) {
        match line.split_whitespace().next() {
            Some(word) if word == begins => depth += 1,
            Some("#else") if depth == 1 && begins == "#if" => middle = Some(at),
            Some(word) if word == end => {
                depth -= 1;
                if depth == 0 {
                    return [at, middle.unwrap_or(at)];
                }
            }
            _ => {}
        }
    }
    panic!("`{}`: no {end}", lines[start]);
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn constants_loops_and_conditions_are_expanded() {
        let template = "#for i in ROWS\n#for j in COLUMNS\nx${i}_${j} = ${VALUE};\n#endfor\n#endfor\n\
                        #if A\na\n#if B\nb\n#endif\n#else\nno a\n#endif\n#if !A\nnot a\n#endif\n\
                        ${BINDING}, ${BINDING}\n";
        let expand = |flag| {
            let constants = Template::new().constant("ROWS", 2).constant("COLUMNS", 1);
            constants
                .constant("VALUE", "f32(0)")
                .flag("A", flag)
                .expand(template)
        };
        let sums = "x0_0 = f32(0);\nx1_0 = f32(0);\n";
        assert_eq!(expand(true), format!("{sums}a\n0, 1\n"));
        assert_eq!(expand(false), format!("{sums}no a\nnot a\n0, 1\n"));
    }

    #[test]
    #[should_panic(expected = "`NOTHING` is not defined")]
    fn an_unknown_name_is_an_error() {
        let _ = Template::new().expand("let x = ${NOTHING};");
    }

    #[test]
    #[should_panic(expected = "no #endif")]
    fn a_condition_without_an_end_is_an_error() {
        let _ = Template::new().expand("#if A\nlet x = 1;");
    }
}
