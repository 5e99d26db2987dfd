/* SPDX-License-Identifier: Apache-2.0
 * One query to the broker called "default" (or $MSERVE_NAME), answered by hello_servant:
 *     cc hello_client.c $(pkg-config --cflags --libs mserve) -o hello_client && ./hello_client */
#include <mserve.h>
#include <stdio.h>

static int fail(mserve_status status) {
  fprintf(stderr, "%s\n%s\n", mserve_last_error(), mserve_status_advice(status));
  return 1;
}

int main(void) {
  static const char query[] = "hello `world";
  mserve_client* client = NULL;
  mserve_status status = mserve_client_connect(NULL, &client);
  if (status != MSERVE_OK) {
    return fail(status);
  }
  mserve_send_options options = MSERVE_SEND_OPTIONS_INIT;
  options.format = MSERVE_Q_TEXT;
  options.flags = MSERVE_REPEATABLE;
  mserve_reply reply = MSERVE_REPLY_INIT;
  status = mserve_client_call(client, query, sizeof query - 1, &options, 10000000000, &reply);
  if (status != MSERVE_OK) {
    return fail(status);
  }
  char error[100];
  if (mserve_reply_error(&reply, error, sizeof error) != 0) {
    printf("'%s\n", error);
  } else if (reply.payload_bytes > 6) { /* a string: type, attribute, count, characters */
    printf("%.*s\n", (int)(reply.payload_bytes - 6), (const char*)reply.payload + 6);
  }
  mserve_client_disconnect(&client);
  return reply.status == MSERVE_OK ? 0 : 1;
}
