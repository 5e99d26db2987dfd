// SPDX-License-Identifier: Apache-2.0
#include "tool/line_editor.hpp"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <filesystem>
#include <system_error>
#include <utility>

#include "tool/command.hpp"

namespace mserve::tool {
namespace {

constexpr int kHistoryLines = 1000;

}  // namespace

struct LineEditor::Parts {
  std::string prompt;
  std::string history_file;
  std::function<bool()> wait_for_key;
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::mbstate_t decoding{};
  bool editing = false;
  bool given_up = false;

  static Parts& of(EditLine* editor) {
    void* data = nullptr;
    (void)el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<Parts*>(data);
  }

  static char* prompt_of(EditLine* editor) { return of(editor).prompt.data(); }

  /// libedit asks here for each character. @return 1, 0 at the end of input, -1 to give up the
  /// line.
  static int next_character(EditLine* editor, wchar_t* out) {
    Parts& self = of(editor);
    for (;;) {
      if (!self.wait_for_key()) {
        self.given_up = true;
        return -1;
      }
      char byte = 0;
      const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        continue;
      }
      if (got <= 0) {
        return 0;
      }
      const std::size_t used = std::mbrtowc(out, &byte, 1, &self.decoding);
      if (used == static_cast<std::size_t>(-2)) {
        continue;  // the first bytes of a character
      }
      if (used == static_cast<std::size_t>(-1)) {
        self.decoding = {};
        *out = static_cast<unsigned char>(byte);
      }
      return 1;
    }
  }
};

LineEditor::LineEditor(std::string prompt, std::string history_file,
                       std::function<bool()> wait_for_key)
    : parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  p.prompt = std::move(prompt);
  p.history_file = std::move(history_file);
  p.wait_for_key = std::move(wait_for_key);
  p.editor = el_init("mserve-client", stdin, stdout, stderr);
  p.history = history_init();
  HistEvent event;
  (void)history(p.history, &event, H_SETSIZE, kHistoryLines);
  (void)history(p.history, &event, H_SETUNIQUE, 1);
  if (!p.history_file.empty()) {
    (void)history(p.history, &event, H_LOAD, p.history_file.c_str());
  }
  (void)el_set(p.editor, EL_CLIENTDATA, static_cast<void*>(&p));
  (void)el_set(p.editor, EL_PROMPT, &Parts::prompt_of);
  (void)el_set(p.editor, EL_EDITOR, "emacs");
  (void)el_set(p.editor, EL_HIST, history, p.history);
  (void)el_set(p.editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  (void)el_source(p.editor, nullptr);  // the user's ~/.editrc
  (void)el_set(p.editor, EL_GETCFN, &Parts::next_character);
}

LineEditor::~LineEditor() {
  Parts& p = *parts_;
  HistEvent event;
  if (!p.history_file.empty()) {
    (void)history(p.history, &event, H_SAVE, p.history_file.c_str());
  }
  history_end(p.history);
  el_end(p.editor);
}

std::optional<std::string> LineEditor::read() {
  Parts& p = *parts_;
  int count = 0;
  p.given_up = false;
  p.editing = true;
  const char* const line = el_gets(p.editor, &count);
  p.editing = false;
  if (p.given_up) {
    (void)std::fputs("\r\n", stdout);
    return std::string();
  }
  if (line == nullptr || count <= 0) {
    return std::nullopt;
  }
  const std::string text(trimmed(std::string_view(line, static_cast<std::size_t>(count))));
  if (!text.empty()) {
    HistEvent event;
    (void)history(p.history, &event, H_ENTER, text.c_str());
  }
  return text;
}

void LineEditor::above(std::string_view text) {
  if (parts_->editing) {
    (void)std::fputs("\r\033[K", stdout);  // the prompt and what was typed; drawn again below
  }
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
  (void)std::fflush(stdout);
  if (parts_->editing) {
    (void)el_set(parts_->editor, EL_REFRESH);
  }
}

std::string default_history_file() {
  namespace fs = std::filesystem;
  const char* const state = std::getenv("XDG_STATE_HOME");
  const char* const home = std::getenv("HOME");
  fs::path folder;
  if (state != nullptr && *state == '/') {
    folder = state;
  } else if (home != nullptr && *home == '/') {
    folder = fs::path(home) / ".local" / "state";
  } else {
    return {};
  }
  folder /= "mserve";
  std::error_code failed;
  fs::create_directories(folder, failed);
  return failed ? std::string() : (folder / "history").string();
}

}  // namespace mserve::tool
