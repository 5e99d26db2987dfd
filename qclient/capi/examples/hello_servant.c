/* SPDX-License-Identifier: Apache-2.0
 * A servant that greets. With a broker running (mserve-broker), start it, then: mserve-client
 * 'hello `world' cc hello_servant.c $(pkg-config --cflags --libs mserve) -o hello_servant &&
 * ./hello_servant */
#include <mserve.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static mserve_servant* servant;

static void stop(int number) {
  (void)number;
  mserve_servant_stop(servant);
}

/* A query is what somebody sent: it is compared, never evaluated. */
static void answer(const mserve_request* request) {
  static const char asked[] = "\x0a\0\x0c\0\0\0hello `world"; /* the string, as kdb+ encodes it */
  static const char greeting[] = "\x0a\0\x0b\0\0\0hello world";
  if (request->payload_bytes == sizeof asked - 1 &&
      memcmp(request->payload, asked, sizeof asked - 1) == 0) {
    mserve_servant_reply(servant, request->id, greeting, sizeof greeting - 1, MSERVE_KDB);
  } else {
    mserve_servant_reply_error(servant, request->id, "unknown command");
  }
}

int main(void) {
  mserve_servant_options options = MSERVE_SERVANT_OPTIONS_INIT;
  options.name = "hello";
  mserve_request request = MSERVE_REQUEST_INIT;
  mserve_status status = mserve_servant_attach(&options, &servant);
  if (status == MSERVE_OK) {
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    while ((status = mserve_servant_receive(servant, MSERVE_FOREVER, &request)) == MSERVE_OK) {
      answer(&request);
    }
  }
  if (status != MSERVE_CANCELLED && status != MSERVE_RETIRED) {
    fprintf(stderr, "%s\n%s\n", mserve_last_error(), mserve_status_advice(status));
  }
  mserve_servant_detach(&servant);
  return status == MSERVE_CANCELLED || status == MSERVE_RETIRED ? 0 : 1;
}
