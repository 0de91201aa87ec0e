//! Tokenizers that frame a sequence as CLIP does: the byte-pair vocabulary of the released models,
//! and WordPiece vocabularies such as that of the default model.

use std::collections::HashSet;
use std::io::Read;

use serde::{Deserialize, Serialize};
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, SplitDelimiterBehavior, TokenizerBuilder, TokenizerImpl,
};

use crate::clean::{Cleaning, clean};

/// Text before the first token of a sequence.
const START: &str = "<|startoftext|>";
/// Text after the last token; its id is the largest, which is how the tower finds it.
const END: &str = "<|endoftext|>";
/// Marks the last symbol of a word.
const WORD_END: &str = "</w>";
/// Merges of CLIP's own table that its vocabulary uses.
const CLIP_MERGES: usize = 48_894;
/// Longest sequence of the released models.
const CLIP_CONTEXT: usize = 77;
/// Contractions, letter runs, single digits, runs of other non-space (docs/network.md §5).
const WORDS: &str = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// The WordPiece entry for what no pieces spell.
const UNKNOWN: &str = "[UNK]";
/// Longest text that is looked at. No context holds a fraction of it; the bound keeps the
/// Unicode repair, whose cost grows faster than the text, from stalling a page.
const TEXT_BYTES_MAX: usize = 16_384;
/// Largest table that is read, decompressed; OpenAI's has 3.2 MB.
const TABLE_BYTES_MAX: u64 = 16 << 20;
/// Version of the stored form that this code writes and reads.
const FORMAT_VERSION: u32 = 1;

/// What can be wrong with a vocabulary or with a text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The byte-pair table cannot be read.
    #[error(
        "the byte-pair table is not usable: {0}; take bpe_simple_vocab_16e6.txt.gz from OpenAI's CLIP repository as it is"
    )]
    Table(String),
    /// The package's tokenizer file cannot be read.
    #[error("the package's tokenizer file is not usable: {0}; fetch or convert the package again")]
    Format(String),
    /// The text has more tokens than the model can read.
    #[error("\"{start}…\" has {tokens} tokens and the model reads at most {context}; shorten it")]
    TooLong {
        /// The first characters of the text.
        start: String,
        /// Tokens of the whole text with start and end mark.
        tokens: usize,
        /// Largest number of tokens.
        context: usize,
    },
    /// The text is so long that it is not even cleaned.
    #[error("a class name of {bytes} bytes is too long (the limit is {limit}); shorten it")]
    TooLarge {
        /// Bytes of the text.
        bytes: usize,
        /// Largest number of bytes.
        limit: usize,
    },
    /// The tokenizer library refused.
    #[error("text could not be tokenized: {0}; please report this text")]
    Library(String),
}

/// The form stored in a package.
#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    #[serde(flatten)]
    vocabulary: Vocabulary,
    cleaning: Cleaning,
    context: usize,
    start_id: u32,
    end_id: u32,
}

/// What makes the entries of a vocabulary; start and end mark follow them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
enum Vocabulary {
    /// By CLIP's rule (docs/network.md §5): 256 byte symbols, the same with `</w>`, one entry a
    /// merge.
    ClipBpe {
        /// `"left right"`, best first.
        merges: Vec<String>,
    },
    /// BERT's kind: the entries themselves, `##` before one that goes on a word.
    WordPiece {
        /// In the order of their ids.
        pieces: Vec<String>,
    },
}

type Library = TokenizerImpl<
    ModelWrapper,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Text to token ids; a sequence is `START + ids + END`.
///
/// CLIP's byte pairs leave no text unknown, since bytes are their alphabet; of WordPiece, words
/// with letters that have no piece become one unknown entry.
pub struct Tokenizer {
    library: Library,
    vocabulary: Vocabulary,
    cleaning: Cleaning,
    context: usize,
    start_id: u32,
    end_id: u32,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// CLIP's tokenizer from OpenAI's `bpe_simple_vocab_16e6.txt`, plain or gzipped. Lines 1 to
    /// 48 894 are the merges; what follows is not used.
    ///
    /// # Errors
    /// [`TextError::Table`] when the bytes are neither, or hold too few or impossible merges.
    pub fn clip(table: &[u8]) -> Result<Self, TextError> {
        let mut text = String::new();
        let read = if table.starts_with(&[0x1f, 0x8b]) {
            flate2::read::GzDecoder::new(table)
                .take(TABLE_BYTES_MAX)
                .read_to_string(&mut text)
        } else {
            table.take(TABLE_BYTES_MAX).read_to_string(&mut text)
        };
        read.map_err(|error| TextError::Table(format!("it is not gzip or UTF-8 text ({error})")))?;
        let merges = text
            .lines()
            .skip(1)
            .take(CLIP_MERGES)
            .map(pair)
            .collect::<Result<Vec<_>, _>>();
        let merges = merges.map_err(TextError::Table)?;
        if merges.len() < CLIP_MERGES {
            return Err(TextError::Table(format!(
                "it has {} merges, not {CLIP_MERGES}",
                merges.len()
            )));
        }
        Self::from_merges(merges, Cleaning::Clip, CLIP_CONTEXT).map_err(TextError::Table)
    }

    /// Reads what [`Tokenizer::to_json`] wrote.
    ///
    /// # Errors
    /// [`TextError::Format`] when it is damaged or from a newer version.
    pub fn from_json(json: &[u8]) -> Result<Self, TextError> {
        let stored: Stored =
            serde_json::from_slice(json).map_err(|error| TextError::Format(error.to_string()))?;
        if stored.format_version != FORMAT_VERSION {
            return Err(TextError::Format(format!(
                "it has format version {}, this program reads {FORMAT_VERSION}",
                stored.format_version
            )));
        }
        let (cleaning, context) = (stored.cleaning, stored.context);
        let tokenizer = match stored.vocabulary {
            Vocabulary::ClipBpe { merges } => merges
                .iter()
                .map(|line| pair(line))
                .collect::<Result<Vec<_>, _>>()
                .and_then(|merges| Self::from_merges(merges, cleaning, context)),
            Vocabulary::WordPiece { pieces } => Self::from_pieces(pieces, context),
        };
        let tokenizer = tokenizer.map_err(TextError::Format)?;
        if (tokenizer.start_id, tokenizer.end_id) != (stored.start_id, stored.end_id) {
            return Err(TextError::Format(
                "its start and end marks do not match its entries".into(),
            ));
        }
        Ok(tokenizer)
    }

    /// A self-contained file: entries, cleaning, marks and context.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored {
            format_version: FORMAT_VERSION,
            vocabulary: self.vocabulary.clone(),
            cleaning: self.cleaning,
            context: self.context,
            start_id: self.start_id,
            end_id: self.end_id,
        };
        serde_json::to_vec(&stored).expect("strings and numbers always serialise")
    }

    /// Token ids of `text`: start mark, words, end mark; not padded.
    ///
    /// # Errors
    /// [`TextError::TooLong`] when that is more than `context` tokens.
    pub fn encode(&self, text: &str, context: usize) -> Result<Vec<u32>, TextError> {
        let words = self.encode_words(text)?;
        if words.len() + 2 > context {
            return Err(TextError::TooLong {
                start: text.chars().take(40).collect(),
                tokens: words.len() + 2,
                context,
            });
        }
        Ok(self.frame(&words))
    }

    /// Tokens of `text`; words that do not fit `context` are dropped. For training on long texts.
    ///
    /// # Errors
    /// [`TextError::TooLarge`] when the text is far beyond any use.
    pub fn encode_cut(&self, text: &str, context: usize) -> Result<Vec<u32>, TextError> {
        let words = self.encode_words(text)?;
        Ok(self.frame(&words[..words.len().min(context.saturating_sub(2))]))
    }

    /// The words of `text` that the vocabulary does not know: they become the unknown entry, or are
    /// spelled letter by letter (byte by byte), which the text tower has learnt nothing about.
    ///
    /// # Errors
    /// [`TextError::TooLarge`] when the text is far beyond any use.
    pub fn unknown_words(&self, text: &str) -> Result<Vec<String>, TextError> {
        let text = self.cleaned(text)?;
        let encoding = self
            .library
            .encode(text.as_str(), false)
            .map_err(|error| TextError::Library(error.to_string()))?;
        let mut words: Vec<(Option<u32>, [usize; 2], Vec<&str>)> = Vec::new();
        let pieces = encoding.get_tokens().iter().zip(encoding.get_offsets());
        for ((piece, &(start, end)), &word) in pieces.zip(encoding.get_word_ids()) {
            match words.last_mut() {
                Some((last, span, pieces)) if *last == word => {
                    span[1] = span[1].max(end);
                    pieces.push(piece);
                }
                _ => words.push((word, [start, end], vec![piece])),
            }
        }
        Ok(words
            .into_iter()
            .filter(|(_, _, pieces)| is_unknown(pieces))
            .filter_map(|(_, [start, end], _)| text.get(start..end))
            .map(|word| word.trim().to_owned())
            .collect())
    }

    fn cleaned(&self, text: &str) -> Result<String, TextError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TextError::TooLarge {
                bytes: text.len(),
                limit: TEXT_BYTES_MAX,
            });
        }
        Ok(clean(text, self.cleaning))
    }

    fn encode_words(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let text = self.cleaned(text)?;
        let encoding = self
            .library
            .encode_fast(text, false)
            .map_err(|error| TextError::Library(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn frame(&self, words: &[u32]) -> Vec<u32> {
        let mut ids = Vec::with_capacity(words.len() + 2);
        ids.push(self.start_id);
        ids.extend_from_slice(words);
        ids.push(self.end_id);
        ids
    }

    /// Longest sequence that the vocabulary's model reads, marks included.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// Id of the end mark, the largest of the vocabulary.
    #[must_use]
    pub fn eot_id(&self) -> u32 {
        self.end_id
    }

    /// The entries of a WordPiece vocabulary without marks, in the order of their ids; none of a
    /// byte-pair vocabulary.
    #[must_use]
    pub fn pieces(&self) -> &[String] {
        match &self.vocabulary {
            Vocabulary::WordPiece { pieces } => pieces,
            Vocabulary::ClipBpe { .. } => &[],
        }
    }

    /// Number of entries, marks included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.end_id as usize + 1
    }

    /// Builds the vocabulary of `merges` by CLIP's rule (docs/network.md §5).
    fn from_merges(
        merges: Vec<(String, String)>,
        cleaning: Cleaning,
        context: usize,
    ) -> Result<Self, String> {
        let mut entries: Vec<String> = byte_symbols().iter().map(char::to_string).collect();
        entries.extend(
            byte_symbols()
                .iter()
                .map(|symbol| format!("{symbol}{WORD_END}")),
        );
        let mut known: HashSet<String> = entries.iter().cloned().collect();
        for (left, right) in &merges {
            for part in [left, right] {
                if !known.contains(part) {
                    return Err(format!(
                        "a merge uses \"{part}\", which nothing before it makes"
                    ));
                }
            }
            let entry = format!("{left}{right}");
            if left.ends_with(WORD_END) || !known.insert(entry.clone()) {
                return Err(format!("the merge \"{left} {right}\" cannot be"));
            }
            entries.push(entry);
        }
        let vocab: std::collections::HashMap<_, _> = entries
            .into_iter()
            .chain([START.to_owned(), END.to_owned()])
            .zip(0u32..)
            .collect();
        let stored = merges
            .iter()
            .map(|(left, right)| format!("{left} {right}"))
            .collect();
        let library = |error: tokenizers::Error| error.to_string();
        let count = vocab.len();
        let bpe = BPE::builder()
            .vocab_and_merges(
                vocab
                    .into_iter()
                    .collect::<tokenizers::models::bpe::Vocab>(),
                merges,
            )
            .end_of_word_suffix(WORD_END.into())
            .build()
            .map_err(library)?;
        Self::assemble(
            bpe.into(),
            None,
            word_splitter().map_err(library)?,
            Vocabulary::ClipBpe { merges: stored },
            cleaning,
            context,
            count,
        )
    }

    /// A WordPiece tokenizer of BERT's kind from its entries without marks; `context` is the
    /// longest sequence that its model reads. Text is cleaned as CLIP does, then loses accents.
    ///
    /// # Errors
    /// One line on the first entry that cannot be, or on one that is missing.
    pub fn from_pieces(pieces: Vec<String>, context: usize) -> Result<Self, String> {
        let mut vocab = std::collections::HashMap::new();
        for (piece, id) in pieces.iter().zip(0u32..) {
            if piece.is_empty() || vocab.insert(piece.clone(), id).is_some() {
                return Err(format!("the entry \"{piece}\" is empty or there twice"));
            }
        }
        if !vocab.contains_key(UNKNOWN) {
            return Err(format!("the entry {UNKNOWN} is missing"));
        }
        for (mark, id) in [START, END].into_iter().zip(pieces.len() as u32..) {
            vocab.insert(mark.to_owned(), id);
        }
        let count = vocab.len();
        let model = WordPiece::builder()
            .vocab(
                vocab
                    .into_iter()
                    .collect::<tokenizers::models::bpe::Vocab>(),
            )
            .unk_token(UNKNOWN.into())
            .build()
            .map_err(|error| error.to_string())?;
        Self::assemble(
            model.into(),
            Some(BertNormalizer::default().into()),
            BertPreTokenizer.into(),
            Vocabulary::WordPiece { pieces },
            Cleaning::Clip,
            context,
            count,
        )
    }

    /// The last two of `count` entries are the marks.
    fn assemble(
        model: ModelWrapper,
        normalizer: Option<NormalizerWrapper>,
        splitter: PreTokenizerWrapper,
        vocabulary: Vocabulary,
        cleaning: Cleaning,
        context: usize,
        count: usize,
    ) -> Result<Self, String> {
        if context < 2 {
            return Err(format!(
                "a context of {context} cannot hold the start and end marks"
            ));
        }
        let library = |error: tokenizers::Error| error.to_string();
        let end_id = u32::try_from(count).map_err(|error| error.to_string())? - 1;
        let mut tokenizer: Library = TokenizerBuilder::new()
            .with_model(model)
            .with_normalizer(normalizer)
            .with_pre_tokenizer(Some(splitter))
            .with_post_processor(None)
            .with_decoder(None)
            .build()
            .map_err(library)?;
        // CLIP knows its marks inside a text too.
        let marks = [START, END].map(|mark| AddedToken::from(mark, true).normalized(false));
        tokenizer.add_special_tokens(marks).map_err(library)?;
        Ok(Self {
            library: tokenizer,
            vocabulary,
            cleaning,
            context,
            start_id: end_id - 1,
            end_id,
        })
    }
}

/// Letters from which on a word that is spelled letter by letter counts as unknown: shorter ones
/// are abbreviations.
const SPELLED_LETTERS: usize = 3;

/// Whether a word of these pieces is the unknown entry, or spelled letter by letter.
fn is_unknown(pieces: &[&str]) -> bool {
    let is_letter = |piece: &&str| {
        let piece = piece.strip_prefix("##").unwrap_or(piece);
        let mut letters = piece.strip_suffix(WORD_END).unwrap_or(piece).chars();
        letters.next().is_some_and(|c| !c.is_ascii_digit()) && letters.next().is_none()
    };
    pieces.contains(&UNKNOWN) || (pieces.len() >= SPELLED_LETTERS && pieces.iter().all(is_letter))
}

/// Cuts cleaned text into words and spells them in byte symbols.
fn word_splitter() -> tokenizers::Result<PreTokenizerWrapper> {
    let words = Split::new(
        SplitPattern::Regex(WORDS.into()),
        SplitDelimiterBehavior::Removed,
        true,
    )?;
    let bytes = ByteLevel::new(false, false, false);
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Split(words),
        PreTokenizerWrapper::ByteLevel(bytes),
    ])))
}

/// CLIP's printable stand-ins for the 256 bytes, in the order of its vocabulary: bytes that print
/// as themselves first, then the others from U+0100 on.
fn byte_symbols() -> [char; 256] {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let themselves = (0..=u8::MAX).filter(prints).map(char::from);
    let moved = (0x100u32..).filter_map(char::from_u32);
    let mut symbols = themselves.chain(moved);
    std::array::from_fn(|_| symbols.next().expect("the second part does not end"))
}

fn pair(line: &str) -> Result<(String, String), String> {
    match line.split_once(' ') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err(format!(
            "\"{}\" is not a merge of two symbols",
            line.chars().take(40).collect::<String>()
        )),
    }
}
