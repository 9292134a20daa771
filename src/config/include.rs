//! `include = ["conf.d/*.toml"]`: which files it names.

use std::path::{Path, PathBuf};

use super::named_file::{LARGEST_TEXT, text};
use super::problem::Place;
use super::report::Source;
use super::section::{Section, unreadable};
use super::value::bad_value;

/// The files that the main file includes, each once, by name within each pattern.
pub(super) fn read(main: &Section<'_>, file: &Path) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for text in main.texts("include").unwrap_or_default() {
        let pattern = main.context.folder.join(&text.value);
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let parent = pattern.parent().unwrap_or(Path::new(""));
        if name.is_empty() || parent.to_string_lossy().contains('*') {
            let problem = bad_value("include", &text, "a file, or files of one folder");
            main.context.tell(problem.help("for example \"routes.toml\" or \"conf.d/*.toml\"; `*` stands in the last part alone"));
            continue;
        }
        let paths = if name.contains('*') {
            matching(main, parent, name, text.place)
        } else {
            vec![pattern.clone()]
        };
        for path in paths {
            let known = sources.iter().any(|source| source.path == path) || same_file(&path, file);
            sources.extend((!known).then(|| source(main, path, text.place)).flatten());
        }
    }
    sources
}

fn source(main: &Section<'_>, path: PathBuf, place: Place) -> Option<Source> {
    let tell = |cause| main.context.tell(unreadable(&path, &cause, place));
    let text = text(&path, LARGEST_TEXT).map_err(tell).ok()?;
    Some(Source { path, text })
}

fn matching(main: &Section<'_>, folder: &Path, name: &str, place: Place) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(listed) {
        Ok(entries) => entries,
        Err(cause) => {
            main.context.tell(unreadable(listed, &cause, place));
            return Vec::new();
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|entry| !entry.starts_with('.') && fits(name, entry))
        .collect();
    names.sort_unstable();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(head) else {
        return false;
    };
    let tails = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    tails.filter_map(|at| name.get(at..)).any(|tail| fits(rest, tail))
}

/// A pattern may well fit the main file, which does not include itself.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing() {
        for (pattern, name) in
            [("*", "a"), ("*.toml", ".toml"), ("a*b*c", "abc"), ("a*b*c", "aXbbc"), ("é*", "éa")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.toml", "a.toml.bak"), ("a*", "b"), ("a*b*c", "acb"), ("a", "ab")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
