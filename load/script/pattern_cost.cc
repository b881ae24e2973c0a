#include "load/script/pattern_cost.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace topspin {
namespace {

constexpr int kMostPatternDepth = 220;  // Lua's matcher refuses more than 200

/// A trial of a match. Positions are indices; npos as a result: no match.
class PatternTrial {
 public:
  PatternTrial(std::string_view subject, std::string_view pattern, uint64_t steps)
      : subject_(subject), pattern_(pattern), steps_(steps) {}

  bool is_spent() const { return is_spent_; }

  /// Where the match of the pattern from `p` on that begins at `s` ends; nullopt: there is none.
  std::optional<size_t> match(size_t s, size_t p) {
    if (++depth_ > kMostPatternDepth) {
      --depth_;
      return std::nullopt;
    }
    const auto end = match_here(s, p);
    --depth_;
    return end;
  }

 private:
  bool step() {
    if (steps_ == 0) is_spent_ = true;
    if (!is_spent_) --steps_;
    return !is_spent_;
  }

  std::optional<size_t> match_here(size_t s, size_t p) {
    while (true) {
      if (!step()) return std::nullopt;
      if (p >= pattern_.size()) return s;
      const char c = pattern_[p];
      if (c == '(') {
        p += p + 1 < pattern_.size() && pattern_[p + 1] == ')' ? 2 : 1;
        continue;
      }
      if (c == ')') {
        ++p;
        continue;
      }
      if (c == '$' && p + 1 == pattern_.size())
        return s == subject_.size() ? std::optional(s) : std::nullopt;
      if (c == '%' && p + 1 < pattern_.size()) {
        const char kind = pattern_[p + 1];
        if (kind == 'b') {
          const auto end = balance(s, p + 2);
          if (!end) return std::nullopt;
          s = *end;
          p += 4;
          continue;
        }
        if (kind == 'f') {
          p += 2;
          if (p >= pattern_.size() || pattern_[p] != '[') return std::nullopt;
          const size_t end = class_end(p);
          const char before = s == 0 ? '\0' : subject_[s - 1];
          const char here = s < subject_.size() ? subject_[s] : '\0';
          if (in_class(before, p, end) || !in_class(here, p, end)) return std::nullopt;
          p = end;
          continue;
        }
        if (std::isdigit(static_cast<unsigned char>(kind)) != 0) {
          (void)match(s, p + 2);
          return std::nullopt;
        }
      }
      const size_t end = class_end(p);
      const char suffix = end < pattern_.size() ? pattern_[end] : '\0';
      switch (suffix) {
        case '?':
          if (is_one(s, p, end)) {
            if (const auto rest = match(s + 1, end + 1)) return rest;
          }
          p = end + 1;
          continue;
        case '+': return is_one(s, p, end) ? longest(s + 1, p, end) : std::nullopt;
        case '*': return longest(s, p, end);
        case '-':
          while (!is_spent_) {
            if (const auto rest = match(s, end + 1)) return rest;
            if (!is_one(s, p, end)) return std::nullopt;
            ++s;
          }
          return std::nullopt;
        default:
          if (!is_one(s, p, end)) return std::nullopt;
          ++s;
          p = end;
      }
    }
  }

  std::optional<size_t> longest(size_t s, size_t p, size_t end) {
    size_t count = 0;
    while (is_one(s + count, p, end)) ++count;
    while (!is_spent_) {
      if (const auto rest = match(s + count, end + 1)) return rest;
      if (count-- == 0) break;
    }
    return std::nullopt;
  }

  std::optional<size_t> balance(size_t s, size_t p) {
    if (p + 1 >= pattern_.size() || s >= subject_.size() || subject_[s] != pattern_[p])
      return std::nullopt;
    int open = 1;
    while (++s < subject_.size() && step()) {
      if (subject_[s] == pattern_[p + 1]) {
        if (--open == 0) return s + 1;
      } else if (subject_[s] == pattern_[p]) {
        ++open;
      }
    }
    return std::nullopt;
  }

  /// Behind the single character, the class or the set at `p`.
  size_t class_end(size_t p) const {
    const char c = pattern_[p++];
    if (c == '%') return std::min(p + 1, pattern_.size());
    if (c != '[') return p;
    if (p < pattern_.size() && pattern_[p] == '^') ++p;
    do {  // a ] that comes first is one of the set
      if (p >= pattern_.size()) return pattern_.size();
      if (pattern_[p++] == '%' && p < pattern_.size()) ++p;
    } while (p >= pattern_.size() || pattern_[p] != ']');
    return p + 1;
  }

  static bool is_of(char character, char letter) {
    const auto c = static_cast<unsigned char>(character);
    bool is = false;
    switch (std::tolower(static_cast<unsigned char>(letter))) {
      case 'a': is = std::isalpha(c) != 0; break;
      case 'c': is = std::iscntrl(c) != 0; break;
      case 'd': is = std::isdigit(c) != 0; break;
      case 'g': is = std::isgraph(c) != 0; break;
      case 'l': is = std::islower(c) != 0; break;
      case 'p': is = std::ispunct(c) != 0; break;
      case 's': is = std::isspace(c) != 0; break;
      case 'u': is = std::isupper(c) != 0; break;
      case 'w': is = std::isalnum(c) != 0; break;
      case 'x': is = std::isxdigit(c) != 0; break;
      case 'z': is = c == 0; break;
      default: return character == letter;
    }
    return is != (std::isupper(static_cast<unsigned char>(letter)) != 0);
  }

  /// Whether the set from `p`, a [, to `end` has the character.
  bool in_class(char character, size_t p, size_t end) const {
    const auto c = static_cast<unsigned char>(character);
    bool has = true;
    if (++p < end && pattern_[p] == '^') {
      has = false;
      ++p;
    }
    while (p + 1 < end) {
      if (pattern_[p] == '%') {
        if (is_of(character, pattern_[p + 1])) return has;
        p += 2;
      } else if (p + 3 < end && pattern_[p + 1] == '-') {
        if (static_cast<unsigned char>(pattern_[p]) <= c &&
            c <= static_cast<unsigned char>(pattern_[p + 2]))
          return has;
        p += 3;
      } else {
        if (pattern_[p] == character) return has;
        ++p;
      }
    }
    return !has;
  }

  bool is_one(size_t s, size_t p, size_t end) {
    if (!step() || s >= subject_.size()) return false;
    switch (pattern_[p]) {
      case '.': return true;
      case '%': return p + 1 < pattern_.size() && is_of(subject_[s], pattern_[p + 1]);
      case '[': return in_class(subject_[s], p, end);
      default: return pattern_[p] == subject_[s];
    }
  }

  std::string_view subject_;
  std::string_view pattern_;
  uint64_t steps_;
  bool is_spent_ = false;
  int depth_ = 0;
};

}  // namespace

bool is_pattern_cheap(std::string_view subject, std::string_view pattern, size_t from, bool all,
                      uint64_t most_steps) {
  if (pattern.find_first_of("*+-?%[") == std::string_view::npos && subject.size() < most_steps)
    return true;
  const bool is_anchored = pattern.starts_with('^');
  PatternTrial trial(subject, pattern, most_steps);
  for (size_t s = from; s <= subject.size();) {
    const auto end = trial.match(s, is_anchored ? 1 : 0);
    if (trial.is_spent()) return false;
    if (is_anchored || (end && !all)) return true;
    s = end && *end > s ? *end : s + 1;
  }
  return true;
}

}  // namespace topspin
