/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one request line of the control socket. */
#include <string.h>

#include "ploopd/control/control.h"

json_t *pl_control_parse(const char *line, size_t len, json_t **ret_id,
			 struct pl_err *err)
{
	json_error_t where;
	json_t *root, *id;

	*ret_id = NULL;
	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	if (!root) {
		pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
			   "the request is not JSON: column %d: %s",
			   where.column, where.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
			   "the request is not a JSON object");
		json_decref(root);
		return NULL;
	}
	id = json_object_get(root, "id");
	if (id && !json_is_integer(id) && !json_is_string(id)) {
		pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
			   "id: must be an integer or a string");
		json_decref(root);
		return NULL;
	}
	if (!json_is_string(json_object_get(root, "op"))) {
		pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
			   "the request has no \"op\"");
		json_decref(root);
		return NULL;
	}
	*ret_id = id;
	return root;
}
