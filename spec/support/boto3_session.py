"""What AWS's own SDK makes of the simulator: does a whole session with it and prints the facts as JSON.

usage: boto3_session.py ENDPOINT CA_FILE FILES.json     (credentials and region from the environment)
"""
import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, ca_file, files = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))


def client(name, **more):
    return boto3.client(name, endpoint_url=endpoint, verify=ca_file, config=Config(retries={"max_attempts": 0}), **more)


def code(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"],
                bool(error.response["ResponseMetadata"].get("RequestId"))]
    return None


def read(name):
    with open(files[name], "rb") as file:
        return file.read()


facts = {}
cloudfront, acm, iam, sts = client("cloudfront"), client("acm"), client("iam"), client("sts")

# Listing, by pages.
summaries = []
for page in cloudfront.get_paginator("list_distributions").paginate(PaginationConfig={"PageSize": 4}):
    summaries += page["DistributionList"].get("Items", [])
facts["listed"] = sorted(item["Id"] for item in summaries)
old = files["old_reference"]
users = [item for item in summaries if item["ViewerCertificate"].get("ACMCertificateArn") == old
         and item["Enabled"] and item["Aliases"]["Quantity"]]
facts["users"] = len(users)
facts["date_types"] = type(users[0]["LastModifiedTime"]).__name__

# ACM.
imported = acm.import_certificate(Certificate=read("new_certificate"), PrivateKey=read("new_key"),
                                  CertificateChain=read("new_chain"), Tags=[{"Key": "rot", "Value": "plan 1"}])
new = imported["CertificateArn"]
described = acm.describe_certificate(CertificateArn=new)["Certificate"]
facts["described"] = [described["Type"], described["Status"], described["InUseBy"], described["DomainName"]]
facts["returned"] = acm.get_certificate(CertificateArn=new)["Certificate"].encode() == read("new_certificate")
facts["tags"] = acm.list_tags_for_certificate(CertificateArn=new)["Tags"]
arns = [item["CertificateArn"] for page in acm.get_paginator("list_certificates").paginate(
    Includes={"keyTypes": ["RSA_2048", "EC_prime256v1"]}, PaginationConfig={"PageSize": 3})
    for item in page["CertificateSummaryList"]]
facts["acm_listed"] = [len(arns), new in arns, old in arns]
facts["wrong_key"] = code(acm.import_certificate, Certificate=read("new_certificate"), PrivateKey=read("old_key"))
facts["in_use"] = code(acm.delete_certificate, CertificateArn=old)
facts["unknown"] = code(acm.describe_certificate, CertificateArn=new[:-4] + "0000")

# The update cycle, as the CloudFront guide has it.
target = users[0]["Id"]
answer = cloudfront.get_distribution_config(Id=target)
config, etag = answer["DistributionConfig"], answer["ETag"]
before = dict(config)
config["ViewerCertificate"] = {"ACMCertificateArn": new, "Certificate": new, "CertificateSource": "acm",
                               "SSLSupportMethod": config["ViewerCertificate"]["SSLSupportMethod"],
                               "MinimumProtocolVersion": config["ViewerCertificate"]["MinimumProtocolVersion"]}
updated = cloudfront.update_distribution(Id=target, IfMatch=etag, DistributionConfig=config)
facts["updated"] = [updated["Distribution"]["Status"], updated["ETag"] != etag]
facts["stale"] = code(cloudfront.update_distribution, Id=target, IfMatch=etag, DistributionConfig=config)
facts["twice"] = code(cloudfront.update_distribution, Id=target, IfMatch=updated["ETag"], DistributionConfig=dict(
    config, ViewerCertificate=before["ViewerCertificate"]))
facts["nonsense_match"] = code(cloudfront.update_distribution, Id=target, IfMatch="x y", DistributionConfig=config)
waiter = cloudfront.get_waiter("distribution_deployed")
waiter.wait(Id=target, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100})
after = cloudfront.get_distribution(Id=target)
facts["deployed"] = [after["Distribution"]["Status"], after["ETag"] == updated["ETag"]]
left = dict(after["Distribution"]["DistributionConfig"])
seen = left.pop("ViewerCertificate")
before.pop("ViewerCertificate")
facts["unchanged_otherwise"] = left == before
facts["certificate_now"] = [seen["ACMCertificateArn"] == new, seen["Certificate"] == new, seen["CertificateSource"]]
facts["absent"] = code(cloudfront.get_distribution, Id="EABSENT")
odd = next((item["Id"] for item in users if "<ViewerCertificate>" in item["Comment"]), None)
facts["odd_comment"] = odd and cloudfront.get_distribution_config(Id=odd)["DistributionConfig"]["Comment"]

# Creating, tagging, deleting.
fresh = dict(before, CallerReference="boto3", Aliases={"Quantity": 0}, Enabled=False,
             ViewerCertificate={"CloudFrontDefaultCertificate": True})
created = cloudfront.create_distribution_with_tags(DistributionConfigWithTags={
    "DistributionConfig": fresh, "Tags": {"Items": [{"Key": "team", "Value": "web"}]}})
own = created["Distribution"]
facts["created"] = [own["Status"], created["Location"].endswith(own["Id"]),
                    own["DistributionConfig"]["ViewerCertificate"]["CloudFrontDefaultCertificate"]]
facts["own_tags"] = cloudfront.list_tags_for_resource(Resource=own["ARN"])["Tags"]["Items"]
waiter.wait(Id=own["Id"], WaiterConfig={"Delay": 0.2, "MaxAttempts": 100})
cloudfront.delete_distribution(Id=own["Id"], IfMatch=created["ETag"])
facts["deleted"] = code(cloudfront.get_distribution, Id=own["Id"])

# IAM.
upload = iam.upload_server_certificate(
    Path="/cloudfront/rot/", ServerCertificateName="boto3-1", CertificateBody=read("new_certificate").decode(),
    PrivateKey=read("new_key").decode(), CertificateChain=read("new_chain").decode(),
    Tags=[{"Key": "rot", "Value": "plan 1"}])["ServerCertificateMetadata"]
facts["uploaded"] = [upload["ServerCertificateId"][:4], upload["Arn"].split(":", 4)[4]]
got = iam.get_server_certificate(ServerCertificateName="boto3-1")["ServerCertificate"]
facts["iam_returned"] = [got["CertificateBody"].encode() == read("new_certificate"), got["Tags"]]
names = [item["ServerCertificateName"] for page in iam.get_paginator("list_server_certificates").paginate(
    PathPrefix="/cloudfront/", PaginationConfig={"PageSize": 1}) for item in page["ServerCertificateMetadataList"]]
facts["iam_listed"] = "boto3-1" in names and len(names) > 1
iam.update_server_certificate(ServerCertificateName="boto3-1", NewServerCertificateName="boto3-2")
facts["taken"] = code(iam.upload_server_certificate, ServerCertificateName="BOTO3-2", PrivateKey=read("new_key").decode(),
                      CertificateBody=read("new_certificate").decode())
facts["quota"] = iam.get_account_summary()["SummaryMap"]["ServerCertificatesQuota"]
iam.delete_server_certificate(ServerCertificateName="boto3-2")
facts["gone"] = code(iam.get_server_certificate, ServerCertificateName="boto3-2")

# Who may, and who may not.
facts["account"] = sts.get_caller_identity()["Account"]
wrong = {"aws_access_key_id": files["access_key_id"], "aws_secret_access_key": "wrong"}
nobody = {"aws_access_key_id": "AKIDNOBODY", "aws_secret_access_key": "wrong"}
facts["wrong_secret"] = [code(client(name, **wrong).__getattribute__(call)) for name, call in
                         (("cloudfront", "list_distributions"), ("iam", "get_account_summary"), ("acm", "list_certificates"))]
facts["unknown_key"] = [code(client(name, **nobody).__getattribute__(call)) for name, call in
                        (("cloudfront", "list_distributions"), ("iam", "get_account_summary"), ("acm", "list_certificates"))]
temporary = dict(aws_access_key_id=files["temporary"]["access_key_id"],
                 aws_secret_access_key=files["temporary"]["secret_access_key"])
facts["temporary"] = code(client("cloudfront", aws_session_token=files["temporary"]["session_token"], **temporary)
                          .list_distributions)
facts["temporary_without_token"] = code(client("cloudfront", **temporary).list_distributions)
facts["other_region"] = code(client("cloudfront", region_name="eu-west-1").list_distributions)
role = sts.assume_role(RoleArn="arn:aws:iam::%s:role/Rotator" % facts["account"], RoleSessionName="spec")["Credentials"]
facts["role"] = client("sts", aws_access_key_id=role["AccessKeyId"], aws_secret_access_key=role["SecretAccessKey"],
                       aws_session_token=role["SessionToken"]).get_caller_identity()["Arn"]

json.dump(facts, sys.stdout)
