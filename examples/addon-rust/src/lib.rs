//! A native addon in Rust with napi-rs. Nothing of it knows WebAssembly: the same crate compiles to a `.node`.

use napi::bindgen_prelude::*;
use napi::{Env, Task};
use napi_derive::napi;

/// The words of a text with how often each occurs, the most frequent first.
#[napi]
pub fn words(text: String) -> Vec<Word> {
    let mut counts = std::collections::HashMap::<&str, u32>::new();
    for word in text.split(|unit: char| !unit.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let mut words: Vec<Word> =
        counts.into_iter().map(|(text, count)| Word { text: text.to_owned(), count }).collect();
    words.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
    words
}

#[napi(object)]
pub struct Word {
    pub text: String,
    pub count: u32,
}

/// The sum of a file's bytes as Fletcher has it.
#[napi]
pub fn checksum(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0u32, 0u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65535;
        high = (high + low) % 65535;
    }
    (high << 16) | low
}

/// A sieve that remembers what it has found.
#[napi]
#[derive(Default)]
pub struct Primes {
    found: Vec<u32>,
}

#[napi]
impl Primes {
    #[napi(constructor)]
    pub fn new() -> Primes {
        Primes::default()
    }

    #[napi]
    pub fn below(&mut self, limit: u32) -> Result<u32> {
        if limit > 10_000_000 {
            return Err(Error::new(Status::InvalidArg, format!("{limit} is more than ten million")));
        }
        let from = self.found.last().map_or(2, |last| last + 1);
        for number in from..limit {
            let divides = |prime: &&u32| number % **prime == 0;
            if self.found.iter().take_while(|prime| **prime * **prime <= number).find(divides).is_none() {
                self.found.push(number);
            }
        }
        Ok(self.found.partition_point(|prime| *prime < limit) as u32)
    }
}

pub struct Reverse(Vec<u8>);

impl Task for Reverse {
    type Output = Vec<u8>;
    type JsValue = Buffer;

    fn compute(&mut self) -> Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.0);
        bytes.reverse();
        Ok(bytes)
    }

    fn resolve(&mut self, _: Env, bytes: Vec<u8>) -> Result<Buffer> {
        Ok(bytes.into())
    }
}

/// The bytes from the last to the first, beside JavaScript.
#[napi]
pub fn reverse(bytes: Buffer) -> AsyncTask<Reverse> {
    AsyncTask::new(Reverse(bytes.to_vec()))
}
