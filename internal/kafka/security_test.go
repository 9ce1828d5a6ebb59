package kafka

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Without an authorizer ACLs are disabled; what no ACL can be closes the
// connection, as in Kafka.
func TestACLsAreDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		creation := kmsg.CreateACLsRequestCreation{ResourceType: 2, ResourceName: "t", ResourcePatternType: 3, Principal: "User:a", Host: "*", Operation: 15, PermissionType: 3}
		filter := kmsg.DeleteACLsRequestFilter{ResourceType: 1, ResourcePatternType: 2, Operation: 1, PermissionType: 1}
		for v := int16(1); v <= 3; v++ {
			describe := kmsg.NewPtrDescribeACLsRequest()
			describe.ResourceType, describe.ResourcePatternType, describe.Operation, describe.PermissionType = 7, 4, 1, 1
			if v == 1 {
				describe.ResourceType = 6
			}
			if resp := call[*kmsg.DescribeACLsResponse](t, c, v, describe); resp.ErrorCode != 54 || told(resp.ErrorMessage) != "No Authorizer is configured on the broker" {
				t.Errorf("describe version %d: %+v", v, resp)
			}
			create := kmsg.NewPtrCreateACLsRequest()
			create.Creations = []kmsg.CreateACLsRequestCreation{creation, creation}
			if resp := call[*kmsg.CreateACLsResponse](t, c, v, create); len(resp.Results) != 2 || resp.Results[1].ErrorCode != 54 {
				t.Errorf("create version %d: %+v", v, resp)
			}
			remove := kmsg.NewPtrDeleteACLsRequest()
			remove.Filters = []kmsg.DeleteACLsRequestFilter{filter}
			if resp := call[*kmsg.DeleteACLsResponse](t, c, v, remove); len(resp.Results) != 1 || resp.Results[0].ErrorCode != 54 {
				t.Errorf("delete version %d: %+v", v, resp)
			}
		}
		unknown := kmsg.NewPtrDescribeACLsRequest()
		unknown.ResourceType, unknown.Operation, unknown.PermissionType = 2, 0, 1
		creation.ResourceType, filter.PermissionType = 0, 0
		for _, req := range []kmsg.Request{
			unknown, &kmsg.CreateACLsRequest{Creations: []kmsg.CreateACLsRequestCreation{creation}}, &kmsg.DeleteACLsRequest{Filters: []kmsg.DeleteACLsRequestFilter{filter}},
		} {
			req.SetVersion(3)
			c := h.dial(t)
			write(t, c, encoded(1, req))
			closed(t, c)
		}
	})
}

// A plain listener has no SASL state and hands out no tokens.
func TestNobodyIsAuthenticated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		for v := range int16(2) {
			if resp := call[*kmsg.SASLHandshakeResponse](t, c, v, &kmsg.SASLHandshakeRequest{Mechanism: "PLAIN"}); resp.ErrorCode != 34 || len(resp.SupportedMechanisms) != 0 {
				t.Errorf("handshake: %+v", resp)
			}
		}
		for v := range int16(3) {
			if resp := call[*kmsg.SASLAuthenticateResponse](t, c, v, &kmsg.SASLAuthenticateRequest{SASLAuthBytes: []byte("x")}); resp.ErrorCode != 34 || resp.ErrorMessage == nil {
				t.Errorf("authenticate: %+v", resp)
			}
		}
		create := kmsg.NewPtrCreateDelegationTokenRequest()
		for v := int16(1); v <= 3; v++ {
			resp := call[*kmsg.CreateDelegationTokenResponse](t, c, v, create)
			if resp.ErrorCode != 64 || resp.PrincipalName != "ANONYMOUS" || resp.IssueTimestamp != -1 {
				t.Errorf("create: %+v", resp)
			}
			if resp := call[*kmsg.DescribeDelegationTokenResponse](t, c, v, kmsg.NewPtrDescribeDelegationTokenRequest()); resp.ErrorCode != 64 {
				t.Errorf("describe: %+v", resp)
			}
		}
		create.OwnerPrincipalType, create.OwnerPrincipalName = new("User"), new("bob")
		if resp := call[*kmsg.CreateDelegationTokenResponse](t, c, 3, create); resp.PrincipalName != "bob" || resp.TokenRequesterPrincipalName != "ANONYMOUS" {
			t.Errorf("for bob: %+v", resp)
		}
		for v := int16(1); v <= 2; v++ {
			if resp := call[*kmsg.RenewDelegationTokenResponse](t, c, v, kmsg.NewPtrRenewDelegationTokenRequest()); resp.ErrorCode != 64 || resp.ExpiryTimestamp != -1 {
				t.Errorf("renew: %+v", resp)
			}
			if resp := call[*kmsg.ExpireDelegationTokenResponse](t, c, v, kmsg.NewPtrExpireDelegationTokenRequest()); resp.ErrorCode != 64 || resp.ExpiryTimestamp != -1 {
				t.Errorf("expire: %+v", resp)
			}
		}
	})
}

func TestDescribeClientQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		part := func(kind string, match kmsg.QuotasMatchType, name *string) kmsg.DescribeClientQuotasRequestComponent {
			return kmsg.DescribeClientQuotasRequestComponent{EntityType: kind, MatchType: match, Match: name}
		}
		for i, q := range []struct {
			filter []kmsg.DescribeClientQuotasRequestComponent
			code   int16
		}{
			{nil, 0},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 2, nil), part("client-id", 0, new("x"))}, 0},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("ip", 1, nil)}, 0},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("", 2, nil)}, 42},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("nope", 2, nil)}, 35},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 2, nil), part("user", 2, nil)}, 42},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 2, nil), part("ip", 2, nil)}, 42},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 0, nil)}, 42},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 1, new("x"))}, 42},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 2, new("x"))}, 42},
			{[]kmsg.DescribeClientQuotasRequestComponent{part("user", 3, nil)}, 42},
		} {
			for v := range int16(2) {
				resp := call[*kmsg.DescribeClientQuotasResponse](t, c, v, &kmsg.DescribeClientQuotasRequest{Components: q.filter})
				if resp.ErrorCode != q.code || (resp.Entries == nil) != (q.code != 0) || len(resp.Entries) != 0 {
					t.Errorf("%d, version %d: %+v %s", i, v, resp, told(resp.ErrorMessage))
				}
			}
		}
	})
}

// A quota that nobody would enforce is refused; all else is as in Kafka.
func TestAlterClientQuotas(t *testing.T) {
	type op = kmsg.AlterClientQuotasRequestEntryOp
	for i, q := range []struct {
		entity string // type=name, …
		ops    []op
		code   int16
	}{
		{"user=bob", []op{{Key: "producer_byte_rate", Value: 1000}}, 35},
		{"user=bob,client-id=x", []op{{Key: "request_percentage", Value: 1.5}}, 35},
		{"ip=1.2.3.4", []op{{Key: "connection_creation_rate", Value: 5}}, 35},
		{"user=bob", []op{{Key: "producer_byte_rate", Remove: true}}, 0},
		{"user=bob", nil, 0},
		{"", []op{{Key: "producer_byte_rate", Value: 1000}}, 42},
		{"x=bob", nil, 42},
		{"user=", nil, 42},
		{"user=a,user=b", nil, 42},
		{"user=a,ip=1.2.3.4", nil, 42},
		{"ip=a b", nil, 42},
		{"ip=1.2.3.4", []op{{Key: "producer_byte_rate", Value: 1}}, 42},
		{"user=a", []op{{Key: "connection_creation_rate", Value: 1}}, 42},
		{"user=a", []op{{Key: "nope", Value: 1}}, 42},
		{"user=a", []op{{Key: "consumer_byte_rate", Value: 0}}, 42},
		{"user=a", []op{{Key: "consumer_byte_rate", Value: math.NaN()}}, 42},
		{"user=a", []op{{Key: "consumer_byte_rate", Value: 1.5}}, 42},
		{"user=a", []op{{Key: "consumer_byte_rate", Value: 1e30}}, 42},
		{"user=a", []op{{Key: "consumer_byte_rate", Value: 1}, {Key: "consumer_byte_rate", Value: 1}}, 42},
	} {
		e := kmsg.AlterClientQuotasRequestEntry{Ops: q.ops}
		for part := range strings.SplitSeq(q.entity, ",") {
			if kind, name, ok := strings.Cut(part, "="); ok {
				e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: &name})
			}
		}
		if got := Code(checkQuota(e)); got != q.code {
			t.Errorf("%d, %s: error %d, want %d", i, q.entity, got, q.code)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		entry := kmsg.AlterClientQuotasRequestEntry{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user"}}}
		resp := call[*kmsg.AlterClientQuotasResponse](t, h.dial(t), 1, &kmsg.AlterClientQuotasRequest{Entries: []kmsg.AlterClientQuotasRequestEntry{entry}})
		if len(resp.Entries) != 1 || resp.Entries[0].ErrorCode != 0 || len(resp.Entries[0].Entity) != 1 || resp.Entries[0].Entity[0].Name != nil {
			t.Errorf("the default user: %+v", resp)
		}
	})
}

func TestScramCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		type user = kmsg.DescribeUserSCRAMCredentialsRequestUser
		describe := func(users []user) (got []string) {
			t.Helper()
			resp := call[*kmsg.DescribeUserSCRAMCredentialsResponse](t, c, 0, &kmsg.DescribeUserSCRAMCredentialsRequest{Users: users})
			for _, u := range resp.Results {
				got = append(got, fmt.Sprint(u.User, u.ErrorCode))
			}
			return got
		}
		if got := describe(nil); got != nil {
			t.Errorf("all: %v", got)
		}
		if got := describe([]user{{Name: "bob"}, {Name: "al"}, {Name: "bob"}}); !slices.Equal(got, []string{"bob92", "al91"}) {
			t.Errorf("some: %v", got)
		}

		req := &kmsg.AlterUserSCRAMCredentialsRequest{Deletions: []kmsg.AlterUserSCRAMCredentialsRequestDeletion{
			{Name: "bob", Mechanism: 1}, {Name: "al", Mechanism: 9}, {Name: "", Mechanism: 1},
		}}
		add := func(name string, mechanism int8, iterations int32) {
			req.Upsertions = append(req.Upsertions, kmsg.AlterUserSCRAMCredentialsRequestUpsertion{Name: name, Mechanism: mechanism, Iterations: iterations})
		}
		add("al", 1, 4096)
		add("few", 1, 4095)
		add("none", 0, 4096)
		add("many", 2, 16385)
		add("good", 2, 16384)
		add("twice", 1, 4096)
		add("twice", 2, 4096)
		resp := call[*kmsg.AlterUserSCRAMCredentialsResponse](t, c, 0, req)
		var got []string
		for _, u := range resp.Results {
			got = append(got, fmt.Sprint(u.User, u.ErrorCode))
		}
		if want := []string{"bob91", "al33", "93", "few93", "none33", "many93", "good35", "twice92"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestTransactionsAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		resp := call[*kmsg.DescribeTransactionsResponse](t, c, 0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{"a", ""}})
		if len(resp.TransactionStates) != 2 || resp.TransactionStates[0].ErrorCode != 105 || resp.TransactionStates[1].ErrorCode != 42 {
			t.Errorf("describe: %+v", resp)
		}
		list := kmsg.NewPtrListTransactionsRequest()
		list.StateFilters, list.TransactionalIDPattern = []string{"Nope", "Ongoing"}, new("a.*")
		for v := range int16(3) {
			resp := call[*kmsg.ListTransactionsResponse](t, c, v, list)
			if resp.ErrorCode != 0 || len(resp.TransactionStates) != 0 || !slices.Equal(resp.UnknownStateFilters, []string{"Nope"}) {
				t.Errorf("list version %d: %+v", v, resp)
			}
		}
		list.TransactionalIDPattern = new("(a")
		if resp := call[*kmsg.ListTransactionsResponse](t, c, 2, list); resp.ErrorCode != 128 {
			t.Errorf("bad pattern: %+v", resp)
		}
	})
}
