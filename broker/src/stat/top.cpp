// SPDX-License-Identifier: Apache-2.0
#include "stat/top.hpp"

#define NCURSES_NOMACROS  // which would be called erase, move, timeout
#include <curses.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "mserve/shm/clock.hpp"
#include "stat/live_broker.hpp"
#include "stat/top_view.hpp"

namespace mserve::stat {

namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kIntervalMin = 0.1;
constexpr double kIntervalMax = 3600;
constexpr int kRedraw = 'L' & 0x1f;
constexpr int kEscape = 0x1b;
constexpr int kEscapeMs = 50;  // in which the rest of an arrow key comes

volatile std::sig_atomic_t g_over = 0;  // lint-allow: volatile, because a signal handler stores it

extern "C" void note_signal(int /*signal*/) {
  g_over = 1;
}

/// The terminal, from start to end. One at a time.
class Terminal {
 public:
  Terminal() {
    (void)std::setlocale(LC_CTYPE, "");
    // initscr() would end the process where it fails.
    screen_ = newterm(nullptr, stdout, stdin);
    if (screen_ == nullptr) {
      return;
    }
    (void)set_term(screen_);
    (void)cbreak();
    (void)noecho();
    (void)keypad(stdscr, true);
    (void)set_escdelay(kEscapeMs);
    (void)curs_set(0);
    if (std::getenv("NO_COLOR") == nullptr && has_colors() && start_color() == OK) {
      (void)use_default_colors();
      (void)init_pair(1, COLOR_CYAN, -1);
      (void)init_pair(2, COLOR_YELLOW, -1);
      colours_ = true;
    }
  }
  ~Terminal() {
    if (screen_ != nullptr) {
      (void)endwin();
      delscreen(screen_);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  [[nodiscard]] bool there() const noexcept { return screen_ != nullptr; }
  [[nodiscard]] static std::size_t width() { return static_cast<std::size_t>(getmaxx(stdscr)); }
  [[nodiscard]] static std::size_t height() { return static_cast<std::size_t>(getmaxy(stdscr)); }

  void draw(const std::vector<Line>& lines) const {
    (void)werase(stdscr);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const attr_t look = attributes(lines[i].look);
      (void)wattr_on(stdscr, look, nullptr);
      // The very last cell stays free: writing it would scroll.
      const bool last = i + 1 == lines.size();
      const std::size_t most = last && width() > 0 ? width() - 1 : width();
      (void)mvwaddnstr(stdscr, static_cast<int>(i), 0, lines[i].text.c_str(),
                       static_cast<int>(most));
      (void)wattr_off(stdscr, look, nullptr);
    }
    (void)wrefresh(stdscr);
  }
  /// The next key; ERR after `ms`.
  [[nodiscard]] static int key(int ms) {
    wtimeout(stdscr, ms);
    return wgetch(stdscr);
  }

 private:
  [[nodiscard]] attr_t attributes(Look look) const {
    switch (look) {
      case Look::title:
        return A_BOLD;
      case Look::head:
        return colours_ ? A_BOLD | static_cast<attr_t>(COLOR_PAIR(1)) : A_UNDERLINE;
      case Look::warning:
        return colours_ ? static_cast<attr_t>(COLOR_PAIR(2)) : A_BOLD;
      case Look::keys:
        return A_REVERSE;
      case Look::plain:
        break;
    }
    return A_NORMAL;
  }

  SCREEN* screen_ = nullptr;
  bool colours_ = false;
};

Shown shown(const LiveBroker& live) {
  Shown shown;
  shown.broker = live.broker().name;
  if (live.presence() != Presence::there) {
    shown.trouble = (live.presence() == Presence::stuck ? "STUCK: "
                     : live.view() != nullptr           ? "GONE: "
                                                        : "") +
                    live.reason();
  }
  if (live.view() != nullptr) {
    shown.view = live.view();
    shown.pid = live.reader()->pid();
    shown.events = live.reader()->events();
  }
  return shown;
}

void show_screen(Choices& choices, Screen screen) {
  choices = {.screen = screen,
             .before = choices.screen,
             .sort = screen == Screen::routes ? 2U : 0U,  // by use
             .paused = choices.paused,
             .interval_s = choices.interval_s};
}

/// @return false: it is over.
bool take_key(int key, Choices& choices, std::size_t page) {
  const std::size_t columns = sortable_columns(choices.screen);
  switch (key) {
    case 'q':
    case 'Q':
      return false;
    case 's':
      show_screen(choices, Screen::servants);
      break;
    case 'c':
      show_screen(choices, Screen::clients);
      break;
    case 'r':
      show_screen(choices, Screen::routes);
      break;
    case 'l':
      show_screen(choices, Screen::latency);
      break;
    case 'e':
      show_screen(choices, Screen::events);
      break;
    case kEscape:
      if (choices.screen == Screen::help) {
        show_screen(choices, choices.before);
      }
      break;
    case 'h':
    case '?':
      show_screen(choices, choices.screen == Screen::help ? choices.before : Screen::help);
      break;
    case '>':
    case '.':
      choices.sort = columns != 0 ? (choices.sort + 1) % columns : 0;
      break;
    case '<':
    case ',':
      choices.sort = columns != 0 ? (choices.sort + columns - 1) % columns : 0;
      break;
    case 'R':
      choices.reverse = !choices.reverse;
      break;
    case kRedraw:
      (void)clearok(stdscr, true);  // something else wrote to this terminal
      break;
    case ' ':
      choices.paused = !choices.paused;
      break;
    case '+':
      choices.interval_s = std::min(choices.interval_s * 2, kIntervalMax);
      break;
    case '-':
      choices.interval_s = std::max(choices.interval_s / 2, kIntervalMin);
      break;
    case KEY_DOWN:
      ++choices.first;
      break;
    case KEY_UP:
      choices.first -= choices.first > 0 ? 1 : 0;
      break;
    case KEY_NPAGE:
      choices.first += page;
      break;
    case KEY_PPAGE:
      choices.first -= std::min(choices.first, page);
      break;
    case KEY_HOME:
      choices.first = 0;
      break;
    case KEY_END:
      choices.first = SIZE_MAX / 2;  // as far as there are rows
      break;
    default:
      break;
  }
  return true;
}

}  // namespace

bool run_top(const BrokerName& broker, double interval_s) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) {
    (void)std::fprintf(stderr, "mserve-stat: top needs a terminal; top --json prints to a pipe\n");
    return false;
  }
  struct sigaction action {};
  action.sa_handler = note_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    (void)sigaction(signal, &action, nullptr);
  }
  const Terminal terminal;
  if (!terminal.there()) {
    const char* const name = std::getenv("TERM");
    (void)std::fprintf(stderr, "mserve-stat: no terminal of type '%s' is known; set TERM\n",
                       name != nullptr ? name : "");
    return false;
  }
  LiveBroker live(broker);
  Choices choices{.interval_s = std::clamp(interval_s, kIntervalMin, kIntervalMax)};
  std::uint64_t next = 0;
  for (;;) {
    const std::uint64_t now = shm::steady_now();
    if (now >= next) {
      if (!choices.paused || next == 0) {
        (void)live.look();
      }
      next = now + static_cast<std::uint64_t>(choices.interval_s * kNsPerSecond);
    }
    const std::size_t height = Terminal::height();
    terminal.draw(render(shown(live), choices, Terminal::width(), height));
    const std::uint64_t left = next - std::min(next, shm::steady_now());
    constexpr std::uint64_t kLongest = 1'000'000'000;
    const int key = Terminal::key(static_cast<int>(std::min(left, kLongest) / 1'000'000) + 1);
    if (g_over != 0 || (key != ERR && !take_key(key, choices, height))) {
      return true;
    }
    if (key == '+' || key == '-') {
      next = 0;
    }
  }
}

}  // namespace mserve::stat
