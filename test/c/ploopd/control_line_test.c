/* SPDX-License-Identifier: Apache-2.0 */
/* Request lines of the control socket. */
#include "ploopd/control/control.h"
#include "tap.h"

static struct pl_err err;
static json_t *id;

static json_t *parse(const char *line)
{
	memset(&err, 0, sizeof(err));
	return pl_control_parse(line, strlen(line), &id, &err);
}

static void refuses(const char *line, const char *part)
{
	json_t *j = parse(line);

	if (!ok(!j)) {
		printf("# accepted: %s\n", line);
		json_decref(j);
		return;
	}
	is_int(err.code, PL_E_INVALID_ARGUMENT);
	if (!ok(strstr(err.msg, part)))
		printf("# %s: %s\n", line, err.msg);
}

pl_test("takes a request with a number or a text as id, or none")
{
	json_t *j = parse("{\"id\":1,\"op\":\"info\"}");

	require(j);
	is_int(json_integer_value(id), 1);
	json_decref(j);
	j = parse("{\"id\":\"a\",\"op\":\"info\"}");
	require(j);
	is_str(json_string_value(id), "a");
	json_decref(j);
	j = parse("{\"op\":\"info\"}");
	require(j);
	ok(!id);
	json_decref(j);
}

pl_test("says what is wrong with a line that is no request")
{
	refuses("hello", "not JSON");
	refuses("{\"op\":\"info\"", "not JSON");
	refuses("{\"op\":\"info\"} trailing", "not JSON");
	refuses("[1]", "not a JSON object");
	refuses("{}", "no \"op\"");
	refuses("{\"op\":7}", "no \"op\"");
	refuses("{\"id\":{},\"op\":\"info\"}", "id:");
	refuses("{\"id\":1.5,\"op\":\"info\"}", "id:");
	refuses("{\"op\":\"a\",\"op\":\"b\"}", "not JSON");
}

pl_test("refuses text that is not UTF-8")
{
	refuses("{\"op\":\"\xff\"}", "not JSON");
}

pl_test("refuses nesting that would exhaust the stack")
{
	char deep[60000];

	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	refuses(deep, "not JSON");
}

int main(void)
{
	return pl_tap_main();
}
